import type { Model, Row } from "./model.js";
import { marks, paddedMark, type Paint, shortType } from "./text.js";

interface Placed {
  row: Row;
  indent: string;
}

/** Parents before children, siblings in the order in which they came. */
function placed(rows: readonly Row[]): Placed[] {
  const byUrn = new Map(rows.map((row) => [row.step.urn, row]));
  const children = new Map<string, Row[]>();
  for (const row of rows) {
    const parent = row.step.parent !== undefined && byUrn.has(row.step.parent) && row.step.parent !== row.step.urn ? row.step.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), row]);
  }
  const result: Placed[] = [];
  const visit = (parent: string, prefix: string): void => {
    const list = children.get(parent) ?? [];
    list.forEach((row, index) => {
      const last = index === list.length - 1;
      const top = parent === "";
      result.push({ row, indent: top ? "" : `${prefix}${last ? "└─ " : "├─ "}` });
      if (row.step.op !== "discard") visit(row.step.urn, top ? "" : `${prefix}${last ? "   " : "│  "}`);
    });
  };
  visit("", "");
  return result;
}

/** Unchanged ones are shown only where something below them changes. */
function shown(rows: readonly Row[]): Row[] {
  const byUrn = new Map(rows.map((row) => [row.step.urn, row]));
  const keep = new Set<Row>();
  for (const row of rows) {
    if (row.step.op === "same" && row.state !== "failed") continue;
    for (let at: Row | undefined = row; at !== undefined && !keep.has(at); at = byUrn.get(at.step.parent ?? "")) keep.add(at);
  }
  return rows.filter((row) => keep.has(row));
}

const msPerS = 1000;
function stateText(row: Row, preview: boolean, nowMs: number): string {
  const words = marks[row.step.op];
  if (row.state === "failed") return "failed";
  if (row.step.op === "same") return "";
  if (preview) return words.planned;
  return row.state === "running" ? `${words.running} (${Math.floor((nowMs - row.startedMs) / msPerS)}s)` : `${words.done} (${Math.ceil(row.durationMs / msPerS)}s)`;
}

const cut = (text: string, width: number): string => (text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text);

/** Pure: the lines of the tree, none wider than `width`. */
export function treeLines(model: Model, width: number, nowMs: number, paint: Paint): string[] {
  const items = placed(shown([...model.rows.values()]));
  if (items.length === 0) return [];
  const typeWidth = Math.max(4, ...items.map(({ row, indent }) => indent.length + shortType(row.step.type).length));
  const nameWidth = Math.max(4, ...items.map(({ row }) => row.step.name.length));
  const states = items.map(({ row }) => stateText(row, model.preview, nowMs));
  const stateWidth = Math.max(model.preview ? 4 : 6, ...states.map((state) => state.length));
  const head = `   ${"Type".padEnd(typeWidth)}  ${"Name".padEnd(nameWidth)}  ${(model.preview ? "Plan" : "Status").padEnd(stateWidth)}  Info`;
  const lines = items.map(({ row, indent }, index) => {
    const state = (states[index] ?? "").padEnd(stateWidth);
    const before = `${(indent + shortType(row.step.type)).padEnd(typeWidth)}  ${row.step.name.padEnd(nameWidth)}  `;
    const info = row.info !== "" ? row.info : row.step.diff.length > 0 && row.step.op !== "create" ? `[diff: ${row.step.diff.map((diff) => `${diff.kind === "add" ? "+" : diff.kind === "delete" ? "-" : "~"}${diff.key}`).join(",")}]` : "";
    const used = 3 + before.length + state.length + 2;
    const colour = row.state === "failed" ? "red" : marks[row.step.op].colour;
    if (used > width) return `${paddedMark(row.step.op, paint)} ${cut(before + state, width - 3)}`;
    return `${paddedMark(row.step.op, paint)} ${before}${paint(colour, state)}  ${cut(info.split("\n")[0] ?? "", width - used)}`.trimEnd();
  });
  return [paint("bold", cut(head, width).trimEnd()), ...lines];
}
