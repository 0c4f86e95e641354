import Table from "cli-table3";

/** Where commands write: injected, so that tests read it. */
export interface Output { out(text: string): void; err(text: string): void; terminal: boolean }
export const processOutput: Output = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  terminal: process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined,
};

/** Columns for people: no borders, two spaces between. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "", left: "", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  " };
  const made = new Table({ head: [...head], chars: none, style: { head: [], border: [], "padding-left": 0, "padding-right": 0 } });
  made.push(...rows.map((row) => [...row]));
  return made.toString().split("\n").map((line) => line.trimEnd()).join("\n") + "\n";
}
export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
/** A tenant's text on an operator's terminal: what could steer it, or turn the order of letters, is shown by its number. */
export const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
