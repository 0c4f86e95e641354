import type { ProbeReport, UrlReport } from "../probe/run-probe.js";
import { printable } from "../output.js";

const clock = (atMs: number): string => new Date(atMs).toISOString().slice(11, 23);
const took = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const named = (what: string, ids: readonly string[]): string => (ids.length === 0 ? "" : `${ids.length} ${what}: ${ids.slice(0, 5).join(", ")}${ids.length > 5 ? ", …" : ""}`);

function writesText(writes: NonNullable<UrlReport["writes"]>): string {
  if ("unknown" in writes) return `  writes: ${writes.acknowledged} of ${writes.sent} acknowledged; whether they are there is not known: ${printable(writes.unknown)}`;
  const wrong = [named("acknowledged and gone", writes.lost), named("there twice", writes.doubled), named("out of order", writes.disordered)].filter((text) => text !== "");
  const beyond = writes.thereUnasked === 0 ? "" : ` (${writes.thereUnasked} more are there whose acknowledgement did not arrive)`;
  return `  writes: ${writes.acknowledged} of ${writes.sent} acknowledged, ${wrong.length === 0 ? "all there, once, in order" : `WRONG: ${wrong.join("; ")}`}${beyond}`;
}

function urlText(report: UrlReport): string {
  const lines = [`${report.url}  ${report.asked} asked (${report.perSecond.toFixed(1)} a second), ${report.well} answered well, ${report.failed} failed`];
  if (report.ms !== null) lines.push(`  answers: median ${took(report.ms.median)}, 99 % within ${took(report.ms.p99)}, longest ${took(report.ms.longest)} (sent at ${clock(report.ms.longestAtMs)})`);
  lines.push(`  longest time without a good answer: ${took(report.gap.ms)} (from ${clock(report.gap.fromMs)})`);
  for (const { what, count, firstMs, lastMs } of report.failures) lines.push(`  failed: ${count} × ${printable(what)}, ${count === 1 ? `at ${clock(firstMs)}` : `${clock(firstMs)} to ${clock(lastMs)}`}`);
  if (report.homes.length > 0) lines.push(`  served by ${report.homes.map(({ node, epoch, firstMs }) => `${printable(node)} (epoch ${epoch}, from ${clock(firstMs)})`).join(", ")}`);
  if (report.writes !== undefined) lines.push(writesText(report.writes));
  return lines.join("\n");
}

/** For people; times are UTC. Pure. */
export const probeText = (report: ProbeReport): string => `${report.urls.map(urlText).join("\n")}\n`;

export function progressText(report: ProbeReport): string {
  const sum = (of: (one: UrlReport) => number): number => report.urls.reduce((total, one) => total + of(one), 0);
  const longest = Math.max(0, ...report.urls.map(({ ms }) => ms?.longest ?? 0));
  return `${Math.round(report.seconds)} s: ${sum(({ asked }) => asked)} asked, ${sum(({ failed }) => failed)} failed, longest ${took(longest)}`;
}

/** Did anything go wrong that a visitor would have seen? */
export const isFlawless = ({ urls }: ProbeReport): boolean => urls.every(({ asked, failed, writes }) => asked > 0 && failed === 0 && (writes === undefined || (!("unknown" in writes) && writes.lost.length + writes.doubled.length + writes.disordered.length === 0)));
