import type { EngineEvent, OperationKind, OperationResult } from "../types.js";
import { JsonDisplay } from "./json.js";
import { PlainDisplay } from "./plain.js";
import { LiveDisplay } from "./live.js";

export interface Display {
  event(event: EngineEvent): void;
  finish(result: OperationResult): void;
}

export interface DisplayOptions {
  /** tree: live, for terminals; plain: lines; json: one object a line */
  mode: "tree" | "plain" | "json";
  kind: OperationKind;
  out: (text: string) => void;
  /** columns of the terminal */
  width?: () => number;
  height?: () => number;
  nowMs?: () => number;
}

export function createDisplay(options: DisplayOptions): Display {
  const settings = { ...options, width: options.width ?? (() => process.stdout.columns || 100), height: options.height ?? (() => process.stdout.rows || 40), nowMs: options.nowMs ?? (() => Date.now()) };
  switch (options.mode) {
    case "tree": return new LiveDisplay(settings);
    case "plain": return new PlainDisplay(settings);
    case "json": return new JsonDisplay(settings);
  }
}
