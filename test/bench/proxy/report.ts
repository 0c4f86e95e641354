import { own, type Goal, hold, type ProxyName } from "./scenarios.js";
import type { HoldCell } from "./hold.js";
import type { MemoryResult } from "./memory.js";
import type { RateCell, RateResult } from "./rate.js";
import { ratios, short, shortSpread, type Spread, spread } from "./stats.js";

export interface Facts { machine: Record<string, unknown>; versions: Record<string, string>; rounds: number; seconds: number; accessLog: string }
export interface Result extends Facts { benchmark: "proxy"; what: string; rates: RateSummary[]; idle: IdleSummary[]; hold?: { goals: typeof hold.goals; summary: HoldSummary; cells: HoldCell[] } }
export interface SideSummary { cpuUs: Spread; perSecond: Spread; p50Ms: Spread; p99Ms: Spread; busyPercent: Spread; foreignPercent: Spread; failed: number; /** This side's CPU per request ÷ ours (more than 1: ours is cheaper), and our requests a second ÷ this side's. */ cpuRatio?: Spread; rateRatio?: Spread; goal?: Goal }
export interface IdleSummary { name: string; what: string; connections: number; goal: Goal; kib: Partial<Record<ProxyName, Spread>>; cells: MemoryResult["cells"] }
export interface RateSummary { name: string; what: string; sides: Partial<Record<ProxyName, SideSummary>>; cells: RateResult["cells"] }
export type HoldSummary = Record<"heldAtMost" | "errors" | "firstArrivalMs" | "lastArrivalMs" | "firstAnswerMs" | "lastAnswerMs" | "otherNormalP99Ms" | "otherHeldP99Ms" | "otherReleaseP99Ms" | "otherWorstMs" | "otherFailed" | "otherRatio", Spread>;

/** Pure: rounds → medians, spread and ratios. */
export function summarizeRate({ scenario, cells }: RateResult): RateSummary {
  const ours = cells[own];
  const of = (list: readonly RateCell[], key: Exclude<keyof RateCell, "tls">): number[] => list.map((cell) => cell[key]);
  const sides = Object.fromEntries((Object.entries(cells) as [ProxyName, RateCell[]][]).map(([name, list]) => {
    const side: SideSummary = { cpuUs: spread(of(list, "cpuUs")), perSecond: spread(of(list, "perSecond")), p50Ms: spread(of(list, "p50Ms")), p99Ms: spread(of(list, "p99Ms")), busyPercent: spread(of(list, "busyPercent")), foreignPercent: spread(of(list, "foreignPercent")), failed: list.reduce((sum, cell) => sum + cell.failed, 0) };
    const goal = scenario.goals[name];
    if (name !== own && ours !== undefined) Object.assign(side, { cpuRatio: ratios(of(list, "cpuUs"), of(ours, "cpuUs")), rateRatio: ratios(of(ours, "perSecond"), of(list, "perSecond")), ...(goal === undefined ? {} : { goal }) });
    return [name, side];
  }));
  return { name: scenario.name, what: scenario.what, sides, cells };
}
export const summarizeMemory = ({ scenario: { name, what, goal }, connections, cells }: MemoryResult): IdleSummary => ({ name, what, connections, goal, kib: Object.fromEntries(Object.entries(cells).map(([name, list]) => [name, spread(list.map((cell) => cell.kibPerConnection))])), cells });
export function summarizeHold(cells: HoldCell[]): NonNullable<Result["hold"]> {
  const of = (take: (cell: HoldCell) => number): Spread => spread(cells.map(take));
  const summary: HoldSummary = {
    heldAtMost: of((cell) => cell.heldAtMost), errors: of((cell) => cell.errors), firstArrivalMs: of((cell) => cell.firstArrivalMs), lastArrivalMs: of((cell) => cell.lastArrivalMs), firstAnswerMs: of((cell) => cell.firstAnswerMs), lastAnswerMs: of((cell) => cell.lastAnswerMs),
    otherNormalP99Ms: of((cell) => cell.other.normal.p99Ms), otherHeldP99Ms: of((cell) => cell.other.whileHeld.p99Ms), otherReleaseP99Ms: of((cell) => cell.other.release.p99Ms), otherWorstMs: of((cell) => Math.max(cell.other.whileHeld.worstMs, cell.other.release.worstMs)), otherFailed: of((cell) => cell.other.whileHeld.failed + cell.other.release.failed),
    otherRatio: of((cell) => cell.other.release.p99Ms / cell.other.normal.p99Ms),
  };
  return { goals: hold.goals, summary, cells };
}

const table = (rows: readonly string[][]): string => rows.map((row) => row.map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(2 + Math.max(...rows.map((other) => (other[at] ?? "").length))))).join("").trimEnd()).join("\n");
const least = (seen: number, goal: Goal | undefined): string => (goal === undefined ? "" : `${seen >= goal.first ? "reached" : "MISSED"} (≥ ${goal.first}, in the end ≥ ${goal.end})`);
const most = (seen: number, goal: Goal): string => `${seen <= goal.first ? "reached" : "MISSED"} (≤ ${goal.first}, in the end ≤ ${goal.end})`;

/** Pure: the tables for people. Medians, with the least and the most of the rounds. */
export function text(result: Result): string {
  const parts = [`machine: ${Object.entries(result.machine).map(([name, value]) => `${name} ${value}`).join(", ")}`, `versions: ${Object.entries(result.versions).map((pair) => pair.join(" ")).join(", ")}`, `access log: ${result.accessLog}; ${result.rounds} rounds, ${result.seconds} s each; medians (least to most)`];
  for (const { name, what, sides } of result.rates) {
    const rows = Object.entries(sides).map(([side, seen]) => [side, shortSpread(seen.cpuUs), shortSpread(seen.perSecond), `${short(seen.p50Ms.median)} / ${short(seen.p99Ms.median)}`, `${short(seen.busyPercent.median)} / ${short(seen.foreignPercent.median)}`, String(seen.failed), seen.cpuRatio === undefined ? "" : shortSpread(seen.cpuRatio), seen.rateRatio === undefined ? "" : shortSpread(seen.rateRatio), least(seen.cpuRatio?.median ?? 0, seen.goal)]);
    const absent = sides[own] === undefined ? "\n(hybridcluster cannot do this yet)" : "";
    parts.push(`${name}: ${what}\n${table([["side", "CPU µs a request", "requests a second", "p50 / p99 ms", "busy / foreign %", "failed", "its CPU ÷ ours", "our rate ÷ its", "goal"], ...rows])}${absent}`);
  }
  for (const { name, what, connections, goal, kib: all } of result.idle) {
    const rows = Object.entries(all).map(([side, kib]) => [side, shortSpread(kib), side === own ? most(kib.median, goal) : ""]);
    parts.push(`${name}: ${what}, ${connections} connections\n${table([["side", "KiB a connection", "goal"], ...rows])}`);
  }
  if (result.hold !== undefined) {
    const { summary, goals, cells } = result.hold;
    const rows: [string, Spread, string][] = [
      ["held at most", summary.heldAtMost, ""], ["errors", summary.errors, most(summary.errors.most, goals.errors)], ["dispatch: first at the backend, ms", summary.firstArrivalMs, most(summary.firstArrivalMs.median, goals.dispatchMs)], ["last at the backend, ms", summary.lastArrivalMs, ""],
      ["first answer, ms", summary.firstAnswerMs, ""], ["last answer, ms", summary.lastAnswerMs, most(summary.lastAnswerMs.median, goals.lastAnswerMs)],
      ["other site's p99, normal, ms", summary.otherNormalP99Ms, ""], ["… while held, ms", summary.otherHeldP99Ms, ""], ["… during the release, ms", summary.otherReleaseP99Ms, ""], ["… ÷ normal", summary.otherRatio, most(summary.otherRatio.median, goals.otherRatio)], ["other site's worst, ms", summary.otherWorstMs, ""], ["other site's failed", summary.otherFailed, ""],
    ];
    parts.push(`${hold.name}: ${cells[0]?.requests ?? 0} ${hold.what}; times from the release\n${table([["", "", "goal"], ...rows.map(([name, seen, goal]) => [name, shortSpread(seen), goal])])}`);
  }
  return `${parts.join("\n\n")}\n`;
}
