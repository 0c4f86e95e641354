import type { Changes, EngineEvent, PlannedStep, Properties, PropertyDiff, Severity } from "../types.js";
import { shortType } from "./text.js";

export interface Row {
  step: PlannedStep;
  state: "running" | "done" | "failed";
  startedMs: number;
  durationMs: number;
  info: string;
}

/** What a phase has shown so far; changed only by `take`. */
export interface Model {
  phase: string;
  preview: boolean;
  startedMs: number;
  rows: Map<string, Row>;
  outputs: { values: Properties; diff: PropertyDiff[] } | undefined;
  changes: Changes | undefined;
  /** what must not be lost when the tree is drawn anew: errors, warnings, what the program prints */
  said: { urn: string; severity: Severity; text: string }[];
  lastInfo: string;
}

export const emptyModel = (): Model => ({ phase: "", preview: true, startedMs: 0, rows: new Map(), outputs: undefined, changes: undefined, said: [], lastInfo: "" });

const rowKey = (step: PlannedStep): string => `${step.op === "discard" ? "discard " : ""}${step.urn}`;

/** Lines of handlers start with "<type> <name>: ": they belong to that row. */
function rowOfLine(model: Model, text: string): Row | undefined {
  const [, type, name] = /^(\S+) (\S+): /.exec(text) ?? [];
  if (type === undefined) return undefined;
  return [...model.rows.values()].find((row) => row.step.name === name && shortType(row.step.type).split(":").at(-1) === type);
}

export function take(model: Model, event: EngineEvent): void {
  switch (event.type) {
    case "phase":
      Object.assign(model, emptyModel(), { phase: event.phase, preview: event.phase === "preview", startedMs: event.atMs });
      return;
    case "step-start":
      model.rows.set(rowKey(event.step), { step: event.step, state: "running", startedMs: event.atMs, durationMs: 0, info: event.step.note ?? "" });
      return;
    case "step-end": {
      const row = model.rows.get(rowKey(event.step));
      if (row === undefined) return;
      row.state = event.ok ? "done" : "failed";
      row.durationMs = event.durationMs;
      if (event.error !== undefined) row.info = event.error;
      return;
    }
    case "outputs":
      model.outputs = { values: event.outputs, diff: event.diff };
      return;
    case "message": {
      if (event.severity !== "info" || event.from === "program") model.said.push({ urn: event.urn ?? "", severity: event.severity, text: event.text });
      const row = rowOfLine(model, event.text);
      if (row !== undefined && row.state === "running") row.info = event.text.replace(/^\S+ \S+: /, "");
      else model.lastInfo = event.text;
      return;
    }
    case "phase-end":
      model.changes = event.changes;
      return;
  }
}
