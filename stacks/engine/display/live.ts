import type { EngineEvent, OperationKind, OperationResult } from "../types.js";
import { phaseEnding, resultLine, title } from "./ending.js";
import type { Display } from "./index.js";
import { emptyModel, take } from "./model.js";
import { ansiPaint, durationText, type Paint, plainPaint } from "./text.js";
import { treeLines } from "./tree.js";

const redrawMs = 100;
const eraseBelow = "\u001b[0J";
const up = (count: number): string => (count > 0 ? `\u001b[${count}F` : "");

/** A tree that is drawn anew in place while the phase runs, and stays as text when it is over. */
export class LiveDisplay implements Display {
  private readonly model = emptyModel();
  private readonly paint: Paint = process.env["NO_COLOR"] === undefined ? ansiPaint : plainPaint;
  private drawn = 0;
  private timer: NodeJS.Timeout | undefined;
  public constructor(private readonly options: { kind: OperationKind; out: (text: string) => void; width: () => number; height: () => number; nowMs: () => number }) {}

  private frame(): string[] {
    const { width, height, nowMs } = this.options;
    const head = `${title(this.model.phase)} (${durationText(nowMs() - this.model.startedMs)})`;
    const lines = treeLines(this.model, width(), nowMs(), this.paint);
    const room = Math.max(3, height() - 4);
    const visible = lines.length > room ? [...lines.slice(0, 1), ...lines.slice(-(room - 2)), `   … ${lines.length - room + 1} more above`] : lines;
    const info = this.model.lastInfo === "" ? [] : [this.paint("dim", `   ${this.model.lastInfo.split("\n")[0]?.slice(0, width() - 4) ?? ""}`)];
    return [this.paint("bold", head), ...visible, ...info];
  }

  private draw(): void {
    const lines = this.frame();
    this.options.out(`${up(this.drawn)}${eraseBelow}${lines.join("\n")}\n`);
    this.drawn = lines.length;
  }

  public event(event: EngineEvent): void {
    take(this.model, event);
    if (event.type === "phase") {
      this.drawn = 0;
      this.timer ??= setInterval(() => this.draw(), redrawMs);
      this.timer.unref();
      this.draw();
    } else if (event.type === "phase-end") {
      this.stop();
      const lines = [this.paint("bold", title(this.model.phase)), ...treeLines(this.model, this.options.width(), this.options.nowMs(), this.paint), ...phaseEnding(this.model, this.options.kind, this.options.nowMs(), this.paint, this.model.preview || this.options.kind === "refresh"), ""];
      this.options.out(`${up(this.drawn)}${eraseBelow}${lines.join("\n")}\n`);
      this.drawn = 0;
    }
  }

  private stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  public finish(result: OperationResult): void {
    this.stop();
    const lines = resultLine(result, this.paint, this.model.preview).slice(1);
    if (lines.length > 0) this.options.out(`${lines.join("\n")}\n`);
  }
}
