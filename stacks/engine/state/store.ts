import { mapProperties, seal, unseal } from "../secrets/seal.js";
import type { Crypter } from "../secrets/passphrase.js";
import type { PendingOperation, ResourceRecord } from "../types.js";
import { type Checkpoint, readCheckpoint, writeCheckpoint } from "./checkpoint.js";
import { basePending, baseRecords, fold, JournalWriter, readJournal, removeJournal } from "./journal.js";
import { ordered, withoutDangling } from "./order.js";
import type { StackPlace } from "./paths.js";

/** The state while an operation runs: records in clear in memory, sealed in file and journal. */
export class StateStore {
  private journal: JournalWriter | undefined;
  private next = 0;
  private changed = false;
  private constructor(private readonly place: StackPlace, private readonly crypter: Crypter, private readonly now: () => Date, private digest: string | undefined,
    private records: Map<string, ResourceRecord>, private left: Map<string, PendingOperation>) {}

  /** Takes in the journal of an operation that was killed; writes nothing yet. */
  public static async open(place: StackPlace, crypter: Crypter, now: () => Date): Promise<StateStore> {
    const file = await readCheckpoint(place);
    const journal = await readJournal(place);
    const base: Checkpoint = file ?? { resources: [], pending: [], digest: "" };
    const folded = journal === undefined ? { records: baseRecords(base.resources), pending: basePending(base.pending) } : fold(base, journal);
    const open = <T extends ResourceRecord>(record: T): T => mapProperties(record, (value) => unseal(value, crypter));
    const records = [...folded.records.values()].map(open);
    const pending = [...folded.pending.values()].map((operation) => ({ ...operation, resource: open(operation.resource) }));
    const store = new StateStore(place, crypter, now, file?.digest, baseRecords(records), basePending(pending));
    store.changed = file === undefined || journal !== undefined;
    return store;
  }

  /** The living and the waiting-for-deletion ones, with their keys. */
  public entries(): [string, ResourceRecord][] {
    return [...this.records];
  }
  /** Operations that a killed run had begun and that nobody has ended yet. */
  public unfinished(): PendingOperation[] {
    return [...this.left.values()];
  }

  /** From here on changes are recorded durably as they happen. */
  public async startRecording(): Promise<void> {
    if (this.changed) {
      await this.write();
      await removeJournal(this.place);
    }
    this.journal = await JournalWriter.start(this.place, this.digest ?? "");
  }

  private sealed(record: ResourceRecord): ResourceRecord {
    return mapProperties(record, (value) => seal(value, this.crypter));
  }
  public newKey(): string {
    this.next += 1;
    return `n${this.next}`;
  }
  public async put(key: string, record: ResourceRecord): Promise<void> {
    this.records.set(key, record);
    this.changed = true;
    await this.journal?.append({ op: "put", key, record: this.sealed(record) });
  }
  public async remove(key: string): Promise<void> {
    this.records.delete(key);
    this.changed = true;
    await this.journal?.append({ op: "remove", key });
  }
  /** Durable before the act: after a crash the next operation knows that it may have happened. Returns the key for `end`. */
  public async begin(type: PendingOperation["type"], record: ResourceRecord): Promise<string> {
    const key = `o${this.newKey()}`;
    this.left.set(key, { resource: record, type });
    this.changed = true;
    await this.journal?.append({ op: "begin", key, pending: { resource: this.sealed(record), type } });
    return key;
  }
  public async end(key: string): Promise<void> {
    this.left.delete(key);
    await this.journal?.append({ op: "end", key });
  }
  /** What a killed run had begun with this resource is settled now. */
  public async settle(urn: string): Promise<void> {
    for (const [key, operation] of [...this.left]) {
      if (operation.resource.urn !== urn) continue;
      this.changed = true;
      await this.end(key);
    }
  }

  private async write(): Promise<void> {
    // a key may stand in the map's order behind what needs it: the file is sorted
    const records = ordered(withoutDangling([...this.records.values()]));
    const left = [...this.left.values()];
    const pending = left.map((operation) => ({ ...operation, resource: this.sealed(operation.resource) }));
    this.digest = await writeCheckpoint(this.place, { resources: records.map((record) => this.sealed(record)), pending, salt: this.crypter.salt }, this.now().toISOString());
    // keys name places in the file that was just written: a journal that follows is folded over that one
    this.records = baseRecords(records);
    this.left = basePending(left);
    this.changed = false;
  }

  /** Leaves exactly the CLI's layout: the state file, its backup, no journal. A state without change is not written again. */
  public async finish(): Promise<void> {
    await this.journal?.close();
    if (this.journal !== undefined && this.changed) await this.write();
    if (this.journal !== undefined) await removeJournal(this.place);
    this.journal = undefined;
  }
}
