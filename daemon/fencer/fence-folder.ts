import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { machineMs } from "../lib/clock.js";
import { type FenceNote, type FenceOrder, type FencerSign, type Reading, readNote, readOrder, readSign } from "./parse-fence.js";

export const orderFile = (run: string): string => `${run}/fence.json`;
export const noteFile = (run: string): string => `${run}/fenced.json`;
export const signFile = (run: string): string => `${run}/fencer.json`;

/**
 * The three files in `<run>`, each with one writer. Synchronous: the folder is in memory, and what is written there must be there before anything
 * else of the process goes on. Not fsync'd: it says nothing after a power cut.
 */
export class FenceFolder {
  public constructor(private readonly run: string, public readonly bootId: string) {}

  public order(): Reading<FenceOrder> {
    return readable(orderFile(this.run), (text) => readOrder(text, this.bootId, machineMs()));
  }
  public note(): Reading<FenceNote> {
    return readable(noteFile(this.run), (text) => readNote(text, this.bootId));
  }
  public sign(): Reading<FencerSign> {
    return readable(signFile(this.run), (text) => readSign(text, this.bootId));
  }

  public writeOrder(order: FenceOrder): void {
    replace(orderFile(this.run), order);
  }
  public writeNote(note: FenceNote): void {
    replace(noteFile(this.run), note);
  }
  public writeSign(sign: FencerSign): void {
    replace(signFile(this.run), sign);
  }
  public removeNote(): void {
    rmSync(noteFile(this.run), { force: true });
  }
}

/** Readers see the old text or the new one. Throws what the file system says. */
function replace(path: string, value: object): void {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function readable<T>(path: string, parse: (text: string | undefined) => Reading<T>): Reading<T> {
  let text: string | undefined;
  try {
    // mostly there is no note, and several ask each second: an error with its stack costs ten times as much
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") return { kind: "unreadable", why: (error as Error).message };
  }
  return parse(text);
}
