import type { Clock } from "../lib/clock.js";
import { HcError } from "../lib/errors.js";
import type { Compare, KeyValue, Op, Store, TxnResult, WatchEvent } from "./store.js";

interface Watcher { prefix: string; onEvents(events: WatchEvent[], revision: string): void; onReset(): void; signal: AbortSignal }
interface Change { revision: bigint; event: WatchEvent }

/** The cluster's state of a simulation: one per cluster, seen by each node through `client(node)`. Passes the contract of EtcdStore. */
export class MemoryState {
  private revision = 1n;
  private compacted = 0n;
  private readonly items = new Map<string, { value: string; mod: bigint }>();
  private history: Change[] = [];
  private readonly watchers = new Set<{ watcher: Watcher; pump(): void }>();

  public get(key: string): KeyValue | undefined {
    const found = this.items.get(key);
    return found === undefined ? undefined : { key, value: found.value, modRevision: found.mod.toString() };
  }

  public list(prefix: string): { revision: string; items: KeyValue[] } {
    const found = [...this.items.keys()].filter((key) => key.startsWith(prefix)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return { revision: this.revision.toString(), items: found.map((key) => this.get(key) as KeyValue) };
  }

  public txn(compare: readonly Compare[], ops: readonly Op[]): TxnResult {
    const held = compare.every((one) => (this.items.get(one.key)?.mod ?? 0n).toString() === one.modRevision);
    if (!held || ops.length === 0) return { succeeded: held, revision: this.revision.toString() };
    const revision = this.revision + 1n;
    let changed = false;
    const put = (key: string, value: string): void => {
      this.items.set(key, { value, mod: revision });
      this.history.push({ revision, event: { type: "put", key, value, modRevision: revision.toString() } });
      changed = true;
    };
    const remove = (key: string): void => {
      if (!this.items.delete(key)) return;
      this.history.push({ revision, event: { type: "delete", key, value: "", modRevision: revision.toString() } });
      changed = true;
    };
    for (const op of ops) {
      if ("put" in op) put(op.put, op.value);
      else if ("delete" in op) remove(op.delete);
      else for (const key of [...this.items.keys()].filter((one) => one.startsWith(op.deletePrefix))) remove(key);
    }
    if (changed) {
      this.revision = revision;
      for (const { pump } of [...this.watchers]) pump();
    }
    return { succeeded: true, revision: this.revision.toString() };
  }

  /** Forgets history up to the present, as etcd's compaction does. */
  public compact(): void {
    this.compacted = this.revision;
    this.history = [];
  }

  /** `open` says whether events reach this watcher now (a cut-off node catches up later, in order, with no gap). */
  public watch(watcher: Watcher, afterRevision: string, open: () => boolean): { pump(): void } {
    let after = BigInt(afterRevision);
    let queued = false;
    const entry = {
      watcher,
      pump: (): void => {
        if (queued || watcher.signal.aborted) return;
        queued = true;
        queueMicrotask(() => {
          queued = false;
          if (watcher.signal.aborted || !open()) return;
          if (after < this.compacted) {
            this.watchers.delete(entry);
            return void watcher.onReset();
          }
          const fresh = this.history.filter((change) => change.revision > after);
          const last = fresh.at(-1);
          if (last === undefined) return;
          after = last.revision;
          const events = fresh.map((change) => change.event).filter((event) => event.key.startsWith(watcher.prefix));
          if (events.length > 0) watcher.onEvents(events, after.toString());
        });
      },
    };
    this.watchers.add(entry);
    watcher.signal.addEventListener("abort", () => this.watchers.delete(entry), { once: true });
    entry.pump();
    return entry;
  }
}

/** Time that things take on their way; drawn anew for each. Changes stay in order. */
export interface MemoryNetwork { clock: Pick<Clock, "sleep">; requestMs(): number; answerMs(): number; watchMs(): number }

/** One node's way to a MemoryState, with the faults of a network: slow, cut, and answers that are lost after the act (invariant 7). */
export class MemoryStore implements Store {
  private cutOff = false;
  private lose = 0;
  private readonly pumps = new Set<{ pump(): void }>();

  public constructor(private readonly state: MemoryState = new MemoryState(), private readonly network?: MemoryNetwork) {}

  public cut(): void {
    this.cutOff = true;
  }

  public heal(): void {
    this.cutOff = false;
    for (const { pump } of this.pumps) pump();
  }

  /** The next `count` transactions happen, but their answers do not arrive. */
  public loseAnswers(count: number): void {
    this.lose = count;
  }

  public async get(key: string): Promise<KeyValue | undefined> {
    await this.reach("get");
    return this.answered(this.state.get(key));
  }

  public async list(prefix: string): Promise<{ revision: string; items: KeyValue[] }> {
    await this.reach("list");
    return this.answered(this.state.list(prefix));
  }

  /** With `timeoutMs` and a slow network: given up after that time, while the act may still happen. */
  public async txn(compare: readonly Compare[], ops: readonly Op[], options: { timeoutMs?: number } = {}): Promise<TxnResult> {
    const act = async (): Promise<TxnResult> => {
      await this.reach("txn");
      const result = this.state.txn(compare, ops);
      if (this.lose > 0) {
        this.lose -= 1;
        throw new HcError("NO_QUORUM", "memory store: the answer was lost.");
      }
      return this.answered(result);
    };
    if (this.network === undefined) return act();
    const late = this.network.clock.sleep(options.timeoutMs ?? 2000).then(() => Promise.reject(new HcError("NO_QUORUM", "memory store: no answer in time.")));
    late.catch(() => undefined);
    const acted = act();
    acted.catch(() => undefined);
    return Promise.race([acted, late]);
  }

  public watch(prefix: string, afterRevision: string, handlers: { onEvents(events: WatchEvent[], revision: string): void; onReset(): void }, signal: AbortSignal): void {
    if (signal.aborted) return;
    const { network } = this;
    let tail = Promise.resolve();
    const later = (tell: () => void): void => {
      if (network === undefined) tell();
      else tail = tail.then(() => network.clock.sleep(network.watchMs())).then(() => (signal.aborted ? undefined : tell()));
    };
    const watcher = { prefix, signal, onEvents: (events: WatchEvent[], revision: string) => later(() => handlers.onEvents(events, revision)), onReset: () => later(() => handlers.onReset()) };
    const entry = this.state.watch(watcher, afterRevision, () => !this.cutOff);
    this.pumps.add(entry);
    signal.addEventListener("abort", () => this.pumps.delete(entry), { once: true });
  }

  private async answered<T>(answer: T): Promise<T> {
    if (this.network !== undefined) await this.network.clock.sleep(this.network.answerMs());
    return answer;
  }

  private async reach(what: string): Promise<void> {
    await (this.network === undefined ? Promise.resolve() : this.network.clock.sleep(this.network.requestMs()));
    if (this.cutOff) throw new HcError("NO_QUORUM", `memory store: ${what}: cut off.`);
  }
}
