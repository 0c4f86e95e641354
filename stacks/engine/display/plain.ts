import type { EngineEvent, OperationKind, OperationResult } from "../types.js";
import { phaseEnding, resultLine, title } from "./ending.js";
import type { Display } from "./index.js";
import { emptyModel, take } from "./model.js";
import { diffLine, durationText, hasDetail, marks, plainPaint, shortType } from "./text.js";

/** A line for each fact, for logs and pipes. Unchanged resources are only counted. */
export class PlainDisplay implements Display {
  private readonly model = emptyModel();
  public constructor(private readonly options: { kind: OperationKind; out: (text: string) => void; nowMs: () => number }) {}

  private print(lines: readonly string[]): void {
    if (lines.length > 0) this.options.out(`${lines.join("\n")}\n`);
  }

  public event(event: EngineEvent): void {
    take(this.model, event);
    this.print(this.linesOf(event));
  }

  private linesOf(event: EngineEvent): string[] {
    switch (event.type) {
      case "phase":
        return [`${title(event.phase)}:`];
      case "step-start": {
        if (event.preview || event.step.op === "same") return [];
        const { mark, running } = marks[event.step.op];
        return [`${mark.padEnd(2)} ${shortType(event.step.type)} ${event.step.name} ${running}`];
      }
      case "step-end": {
        const { step } = event;
        if (step.op === "same" && event.ok) return [];
        const { mark, planned, done } = marks[step.op];
        const note = step.note === undefined ? "" : ` (${step.note})`;
        const said = !event.ok ? `failed: ${event.error ?? ""}` : event.preview ? planned : `${done} (${durationText(event.durationMs)})`;
        const detail = event.preview && hasDetail(step, this.options.kind) ? step.diff.map((diff) => `     ${diffLine(diff, plainPaint)}`) : [];
        return [`${mark.padEnd(2)} ${shortType(step.type)} ${step.name} ${said}${note}`, ...detail];
      }
      case "message":
        // errors of steps are told by their step, and all of them at the end
        return event.severity === "error" ? [] : [`   ${event.severity === "warning" ? "warning: " : ""}${event.text}`];
      case "phase-end":
        // the others were printed as they came
        this.model.said = this.model.said.filter((item) => item.severity === "error");
        return [...phaseEnding(this.model, this.options.kind, this.options.nowMs(), plainPaint, false), ""];
      case "outputs":
        return [];
    }
  }

  public finish(result: OperationResult): void {
    this.print(resultLine(result, plainPaint, this.model.preview).slice(1));
  }
}
