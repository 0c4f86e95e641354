import type { OperationKind, OperationResult } from "../types.js";
import { parseUrn } from "../urn.js";
import type { Model } from "./model.js";
import { hasDetail, outputLines, type Paint, shortType, stepDetail, summaryLines } from "./text.js";

const titles: Record<string, string> = { preview: "Previewing", update: "Updating", refresh: "Refreshing", destroy: "Destroying" };
export const title = (phase: string): string => titles[phase] ?? phase;

/** Pure: what stands below the steps when a phase is over. `nowMs` ends the phase. */
export function phaseEnding(model: Model, kind: OperationKind, nowMs: number, paint: Paint, withDetail: boolean): string[] {
  const lines: string[] = [];
  const part = (more: string[]): void => {
    if (more.length > 0) lines.push("", ...more);
  };
  if (withDetail) part([...model.rows.values()].filter((row) => hasDetail(row.step, kind)).flatMap((row) => stepDetail(row.step, paint)));
  if (model.outputs !== undefined) part(outputLines(model.outputs.values, model.outputs.diff, paint));
  part(diagnostics(model, paint));
  if (model.changes !== undefined) part(summaryLines(model.changes, model.preview, nowMs - model.startedMs, paint));
  return lines;
}

function diagnostics(model: Model, paint: Paint): string[] {
  if (model.said.length === 0) return [];
  return [paint("bold", "Diagnostics:"), ...model.said.flatMap(({ urn, severity, text }) => {
    const { type, name } = parseUrn(urn);
    const mark = severity === "error" ? paint("red", "error: ") : severity === "warning" ? paint("yellow", "warning: ") : "";
    return `${urn === "" ? "" : `${shortType(type)} ${name}: `}${text}`.split("\n").map((line, index) => `    ${index === 0 ? mark : ""}${line}`);
  })];
}

/** `preview`: the phase that was shown last, so that a failed preview does not speak of what was done. */
export function resultLine(result: OperationResult, paint: Paint, preview: boolean): string[] {
  if (preview && result.result !== "succeeded") return ["", paint("red", result.result === "cancelled" ? "Cancelled: nothing was changed." : "Failed: nothing was changed.")];
  if (result.result === "cancelled") return ["", paint("yellow", "Cancelled: what had been started was finished and is in the state; run the same command again to go on.")];
  if (result.result === "failed") return ["", paint("red", "Failed: what was done is in the state; run the same command again when the cause is gone.")];
  return [];
}
