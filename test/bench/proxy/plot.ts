import type { Result } from "./report.js";
import { own } from "./scenarios.js";
import { short } from "./stats.js";

const escaped = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const [barHeight, gap, left, width] = [18, 8, 300, 460];
/** A ratio's place on a logarithmic axis from 1/4 to 16, so that half and twice look alike. */
const place = (ratio: number): number => left + (Math.min(6, Math.max(0, Math.log2(ratio) + 2)) / 6) * width;

/** Pure: the ratios of CPU per request as bars from 1 (equal), with spread and the goal's mark. SVG by hand: no library. */
export function plot(result: Result): string {
  const parts: string[] = [];
  let y = 70;
  for (const { name, sides } of result.rates) {
    for (const [side, seen] of Object.entries(sides)) {
      if (side === own || seen.cpuRatio === undefined) continue;
      const { median, least, most } = seen.cpuRatio;
      const [from, to] = [place(1), place(median)].sort((a, b) => a - b) as [number, number];
      const middle = y + barHeight / 2;
      parts.push(`<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escaped(`${name}, ${side}`)}</text>`);
      parts.push(`<rect x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${barHeight}" fill="${median >= 1 ? "#2a7f62" : "#b5562b"}"/>`);
      parts.push(`<line x1="${place(least).toFixed(1)}" x2="${place(most).toFixed(1)}" y1="${middle}" y2="${middle}" stroke="#000" stroke-width="2"/>`);
      if (seen.goal !== undefined) parts.push(`<line x1="${place(seen.goal.first).toFixed(1)}" x2="${place(seen.goal.first).toFixed(1)}" y1="${y - 3}" y2="${y + barHeight + 3}" stroke="#c00" stroke-width="2"/>`);
      parts.push(`<text x="${left + width + 8}" y="${middle + 4}">${short(median)}</text>`);
      y += barHeight + gap;
    }
    y += gap;
  }
  const axis = [0.25, 0.5, 1, 2, 4, 8, 16].map((ratio) => `<line x1="${place(ratio).toFixed(1)}" x2="${place(ratio).toFixed(1)}" y1="58" y2="${y}" stroke="#ccc"/><text x="${place(ratio).toFixed(1)}" y="52" text-anchor="middle">${ratio}</text>`);
  const titles = [`CPU per request: the other side's ÷ hybridcluster's. More than 1: hybridcluster is cheaper. Red mark: goal.`, Object.entries(result.versions).map((pair) => pair.join(" ")).join(", ")];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 60}" height="${y + 10}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>
${titles.map((title, at) => `<text x="8" y="${16 + at * 16}">${escaped(title)}</text>`).join("\n")}
${[...axis, ...parts].join("\n")}
</svg>
`;
}
