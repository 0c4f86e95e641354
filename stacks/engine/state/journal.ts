import { type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { readFileIfAny } from "../../../daemon/lib/atomic-file.js";
import type { PendingOperation, ResourceRecord } from "../types.js";
import type { Checkpoint } from "./checkpoint.js";
import { journalFile, type StackPlace } from "./paths.js";

/**
 * What happened since the state file was written, one JSON line each: a step costs one short write and not the whole state. A key names a
 * record: `b<n>` the n-th of the state file, `n<n>` one of this operation. A line that a crash cut off never happened.
 */
export type JournalEntry =
  | { op: "base"; digest: string }
  | { op: "put"; key: string; record: ResourceRecord }
  | { op: "remove"; key: string }
  | { op: "begin"; key: string; pending: PendingOperation }
  | { op: "end"; key: string };

export interface Folded {
  records: Map<string, ResourceRecord>;
  pending: Map<string, PendingOperation>;
}

export const baseRecords = (resources: readonly ResourceRecord[]): Map<string, ResourceRecord> => new Map(resources.map((record, index) => [`b${index}`, record]));
export const basePending = (pending: readonly PendingOperation[]): Map<string, PendingOperation> => new Map(pending.map((operation, index) => [`p${index}`, operation]));

/** Pure. A journal of another state file is left aside: its content is in the file already, or the CLI has written since. */
export function fold(base: Checkpoint, journal: string): Folded {
  const records = baseRecords(base.resources);
  const pending = basePending(base.pending);
  const lines = journal.split("\n").slice(0, -1);
  let ours = false;
  for (const line of lines) {
    const entry = JSON.parse(line) as JournalEntry;
    if (entry.op === "base") ours = entry.digest === base.digest;
    else if (!ours) continue;
    else if (entry.op === "put") records.set(entry.key, entry.record);
    else if (entry.op === "remove") records.delete(entry.key);
    else if (entry.op === "begin") pending.set(entry.key, entry.pending);
    else pending.delete(entry.key);
  }
  return { records, pending };
}

export const readJournal = (place: StackPlace): Promise<string | undefined> => readFileIfAny(journalFile(place));
export const removeJournal = (place: StackPlace): Promise<void> => rm(journalFile(place), { force: true });

/** Appends; `append` resolves when the line is on disk. Lines that come during a write share the next one. */
export class JournalWriter {
  private waiting: { line: string; resolve: () => void; reject: (error: unknown) => void }[] = [];
  private writing: Promise<void> | undefined;
  private constructor(private readonly file: FileHandle) {}

  public static async start(place: StackPlace, digest: string): Promise<JournalWriter> {
    await mkdir(dirname(journalFile(place)), { recursive: true, mode: 0o700 });
    const writer = new JournalWriter(await open(journalFile(place), "w", 0o600));
    await writer.append({ op: "base", digest });
    return writer;
  }

  public append(entry: JournalEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ line: `${JSON.stringify(entry)}\n`, resolve, reject });
      this.writing ??= this.flush();
    });
  }

  private async flush(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        await this.file.appendFile(batch.map((item) => item.line).join(""));
        await this.file.datasync();
        for (const item of batch) item.resolve();
      } catch (error) {
        for (const item of batch) item.reject(error);
      }
    }
    this.writing = undefined;
  }

  public async close(): Promise<void> {
    await this.writing;
    await this.file.close();
  }
}
