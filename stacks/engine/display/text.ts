import type { Changes, OperationKind, PlannedStep, Properties, PropertyDiff, StepOp, Value } from "../types.js";
import { display } from "../values.js";

/** Pure texts; colours are put on by `Paint`. */
export type Colour = "green" | "yellow" | "red" | "cyan" | "dim" | "bold" | "magenta";
export type Paint = (colour: Colour, text: string) => string;
export const plainPaint: Paint = (_colour, text) => text;
const codes: Record<Colour, string> = { green: "32", yellow: "33", red: "31", cyan: "36", dim: "2", bold: "1", magenta: "35" };
export const ansiPaint: Paint = (colour, text) => `\u001b[${codes[colour]}m${text}\u001b[0m`;

/** Pulumi's marks. */
export const marks: Record<StepOp, { mark: string; colour: Colour; planned: string; running: string; done: string }> = {
  same: { mark: " ", colour: "dim", planned: "", running: "", done: "unchanged" },
  create: { mark: "+", colour: "green", planned: "create", running: "creating", done: "created" },
  update: { mark: "~", colour: "yellow", planned: "update", running: "updating", done: "updated" },
  replace: { mark: "+-", colour: "magenta", planned: "replace", running: "replacing", done: "replaced" },
  delete: { mark: "-", colour: "red", planned: "delete", running: "deleting", done: "deleted" },
  discard: { mark: "-", colour: "red", planned: "delete original", running: "deleting original", done: "deleted original" },
  refresh: { mark: " ", colour: "cyan", planned: "refresh", running: "refreshing", done: "refreshed" },
  read: { mark: ">", colour: "cyan", planned: "read", running: "reading", done: "read" },
};

/** `pulumi-nodejs:dynamic/hybridcluster:Site` → `hybridcluster:Site` */
export const shortType = (type: string): string => type.replace(/^pulumi-nodejs:dynamic\//, "");

const valueLimit = 100;
export function valueText(value: Value | undefined): string {
  const text = value === "[secret]" || value === "[unknown]" ? value : JSON.stringify(value);
  return text.length > valueLimit ? `${text.slice(0, valueLimit - 1)}…` : text;
}

export function diffLine(diff: PropertyDiff, paint: Paint): string {
  const forces = diff.forcesReplacement ? paint("magenta", " (forces replacement)") : "";
  if (diff.kind === "add") return `${paint("green", "+")} ${diff.key}: ${valueText(diff.new)}${forces}`;
  if (diff.kind === "delete") return `${paint("red", "-")} ${diff.key}: ${valueText(diff.old)}${forces}`;
  return `${paint("yellow", "~")} ${diff.key}: ${valueText(diff.old)} → ${valueText(diff.new)}${forces}`;
}

export const paddedMark = (op: StepOp, paint: Paint): string => paint(marks[op].colour, marks[op].mark.padEnd(2));

/** The step and below it what changes in it. */
export function stepDetail(step: PlannedStep, paint: Paint): string[] {
  const note = step.note === undefined ? "" : paint("dim", ` (${step.note})`);
  return [`${paddedMark(step.op, paint)} ${shortType(step.type)} ${paint("bold", step.name)} ${marks[step.op].planned}${note}`, ...step.diff.map((diff) => `     ${diffLine(diff, paint)}`)];
}

/** Steps whose properties are shown: what changes in living things always, those of new ones where nothing follows the preview. */
export const hasDetail = (step: PlannedStep, kind: OperationKind): boolean => step.diff.length > 0 && (step.op === "update" || step.op === "replace" || (step.op === "create" && kind === "preview"));

const plural = (count: number, one: string): string => `${count} ${one}`;
export function summaryLines(changes: Changes, preview: boolean, durationMs: number, paint: Paint): string[] {
  const word = (op: "create" | "update" | "replace" | "delete"): string => (preview ? `to ${marks[op].planned}` : marks[op].done);
  const counted = (["create", "update", "replace", "delete"] as const).filter((op) => changes[op] > 0).map((op) => `    ${paint(marks[op].colour, `${marks[op].mark} ${plural(changes[op], word(op))}`)}`);
  const same = changes.same > 0 ? [`    ${plural(changes.same, "unchanged")}`] : [];
  return [paint("bold", "Resources:"), ...(counted.length + same.length > 0 ? [...counted, ...same] : ["    none"]), "", `${paint("bold", "Duration:")} ${durationText(durationMs)}`];
}

const msPerS = 1000;
const sPerMinute = 60;
export function durationText(ms: number): string {
  const seconds = Math.round(ms / msPerS);
  return seconds < 1 ? "<1s" : seconds < sPerMinute ? `${seconds}s` : `${Math.floor(seconds / sPerMinute)}m${seconds % sPerMinute}s`;
}

/** Outputs, changed ones with their mark. */
export function outputLines(outputs: Properties, diff: readonly PropertyDiff[], paint: Paint): string[] {
  const changed = new Map(diff.map((item) => [item.key, item]));
  const keys = [...new Set([...Object.keys(outputs), ...changed.keys()])].sort();
  if (keys.length === 0) return [];
  return [paint("bold", "Outputs:"), ...keys.map((key) => {
    const item = changed.get(key);
    return item === undefined ? `      ${key}: ${valueText(display(outputs[key]))}` : `    ${diffLine(item, paint)}`;
  })];
}
