import type { EngineEvent, OperationResult } from "../types.js";
import { display } from "../values.js";
import type { Display } from "./index.js";

/** One JSON object a line: the engine's events, at the end {"type":"result", …}. Secrets are "[secret]". */
export class JsonDisplay implements Display {
  public constructor(private readonly options: { out: (text: string) => void }) {}

  public event(event: EngineEvent): void {
    const safe = event.type === "outputs" ? { ...event, outputs: display(event.outputs) } : event;
    this.options.out(`${JSON.stringify(safe)}\n`);
  }
  public finish(result: OperationResult): void {
    this.options.out(`${JSON.stringify({ type: "result", ...result })}\n`);
  }
}
