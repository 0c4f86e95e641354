import { type Clock, sleepUntilTick } from "../lib/clock.js";
import { pauseMs } from "../lib/backoff.js";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { keys, recordVersion, type RecoveryRecord } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { EtcdPoint } from "../state/etcd-store.js";
import type { Store } from "../state/store.js";
import { brokenBecause, type EtcdMemory, furthest, type MemoryFile, readMemory } from "./etcd-memory.js";

/** The memory is written this often, ms, when etcd moved on. A backup younger than that is found by the other nodes, or by the epochs on the disks. */
const writeEveryMs = 15_000;
/** What must not wait for that is looked for this often, ms: the generation of a new session, another lineage. */
const lookEveryMs = 5_000;
/** How long the others' memories are waited for at the start, ms: a restart of hcd must not cost its session. */
const askMs = 800;

export interface EtcdGuardOptions {
  node: string;
  clusterId: string;
  file: MemoryFile;
  store: Store & { onAnswer: ((seen: EtcdPoint, before: EtcdPoint | undefined) => void) | undefined };
  clock: Clock;
  log: Logger;
  /** Memories of the other members that answer within the time. */
  others(timeoutMs: number): Promise<unknown[]>;
  generation(): number;
  /** etcd broke with its past while this process runs: nothing that it knows can be trusted; it ends, and starts anew. */
  broken(why: string): void;
}

/**
 * OWNERSHIP 13: notices that etcd went backwards, before this node's session begins, and opens the recovery (a record in etcd). Invariants:
 * 1. No session, so nothing mounted, before etcd was compared with the memories of this node and of all others that can be asked.
 * 2. A recovery is begun by a compare-and-swap, with a lineage above every one remembered; whoever comes later joins it.
 * 3. The memory goes on only with an etcd that was judged.
 */
export class EtcdGuard {
  private memory: EtcdMemory | undefined;
  private written: EtcdMemory | undefined;
  private writtenMs = Number.NEGATIVE_INFINITY;
  private opened = 0n;
  /** It is over for this process: another etcd answers, or will. */
  private told = false;
  private judged = false;
  private joining = 0;

  public constructor(private readonly options: EtcdGuardOptions) {}

  public known(): EtcdMemory | undefined {
    return this.memory;
  }
  /** Is the picture from before a recovery that this node has opened, or does it show one? */
  public isRecovering(state: ClusterState): boolean {
    return this.told || state.recovery?.value.state === "recovering" || BigInt(state.revision) < this.opened;
  }
  /** etcd is about to be begun anew by this process, which ends afterwards: until then it owns nothing, and is surprised by nothing. */
  public suspend(): void {
    this.told = true;
  }

  /** Settles when this etcd goes on where the memories end, or a recovery is open. */
  public async begin(signal: AbortSignal): Promise<void> {
    const { options } = this;
    this.memory = await options.file.read();
    let point: EtcdPoint | undefined;
    options.store.onAnswer = (seen, before) => {
      point = seen;
      this.follow(seen, before);
    };
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        const others = options.others(askMs);
        const found = await options.store.get(keys.recovery);
        const record = found === undefined ? undefined : (JSON.parse(found.value) as RecoveryRecord);
        const seen = point;
        if (seen === undefined) throw new Error("etcd did not say which one it is");
        const most = furthest((await others).map((one) => readMemory(one, options.clusterId)), this.memory);
        // the others' revisions were asked for before or while etcd was: they may be ahead of that answer, never of a later one
        const now = most === undefined || brokenBecause(most, seen, record) === "" ? seen : await this.again();
        const why = brokenBecause(most, now, record);
        if (why !== "" && !(await this.open(why, most as EtcdMemory, record, found?.modRevision ?? "0"))) continue; // somebody was first: look again
        if (record?.state === "recovering") this.opened = BigInt(found?.modRevision ?? "0");
        this.memory = { version: 1, clusterId: options.clusterId, ...now, lineage: Math.max(record?.lineage ?? 0, why === "" ? 0 : (most as EtcdMemory).lineage + 1), generation: this.memory?.generation ?? 0 };
        this.judged = true;
        await this.save();
        return;
      } catch (error) {
        if (attempt === 3 || attempt % 50 === 0) options.log.info({ reason: messageOf(error) }, "etcd's history was not compared yet");
        await options.clock.sleep(pauseMs(attempt, { firstMs: 100, capMs: 1000 }), signal).catch(() => undefined);
      }
    }
  }

  /** Writes the memory now and then, until the signal fires. */
  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleepUntilTick(this.options.clock, lookEveryMs, signal);
      if (this.judged && !this.told && this.isDue()) await this.save().catch((error: unknown) => this.options.log.warn({ err: error }, "what is known of etcd could not be written down"));
    }
  }
  /** The picture changed: a recovery that others have opened is joined, if it is of the etcd that was judged; a watch does not say so, an answer does (`follow`). */
  public async joined(record: RecoveryRecord | undefined): Promise<void> {
    if (this.memory === undefined || !this.judged || record === undefined || record.lineage <= this.memory.lineage || this.joining === record.lineage) return;
    this.joining = record.lineage;
    try {
      await this.options.store.get(keys.recovery);
      if (this.told) return;
      this.memory = { ...this.memory, lineage: record.lineage };
      await this.save();
    } finally {
      this.joining = 0;
    }
  }

  private async again(): Promise<EtcdPoint> {
    let point: EtcdPoint | undefined;
    const before = this.options.store.onAnswer;
    this.options.store.onAnswer = (seen, last) => {
      point = seen;
      before?.(seen, last);
    };
    await this.options.store.get(keys.recovery).finally(() => (this.options.store.onAnswer = before));
    if (point === undefined) throw new Error("etcd did not say which one it is");
    return point;
  }

  private async open(why: string, most: EtcdMemory, record: RecoveryRecord | undefined, modRevision: string): Promise<boolean> {
    const { options } = this;
    const next: RecoveryRecord = { version: recordVersion, lineage: most.lineage + 1, state: "recovering", reason: why, node: options.node, atMs: options.clock.wallMs(), excluded: [], detail: "" };
    const { succeeded, revision } = await options.store.txn([{ key: keys.recovery, modRevision }], [{ put: keys.recovery, value: JSON.stringify(next) }]);
    if (!succeeded) return false;
    this.opened = BigInt(revision);
    options.log.error({ why, lineage: next.lineage, before: record }, "etcd went backwards: the cluster recovers from what the disks hold");
    return true;
  }

  private follow(seen: EtcdPoint, before: EtcdPoint | undefined): void {
    if (!this.judged || this.told || this.memory === undefined) return;
    const other = seen.etcdCluster !== this.memory.etcdCluster;
    if (other || (before !== undefined && BigInt(seen.revision) < BigInt(before.revision))) {
      this.told = true;
      const why = other ? `another etcd answers (${seen.etcdCluster}, it was ${this.memory.etcdCluster})` : `etcd went back from revision ${before?.revision} to ${seen.revision}`;
      // what is on the disk must show it to the process that comes
      void this.save().catch(() => undefined).then(() => this.options.broken(why));
      return;
    }
    if (BigInt(seen.revision) > BigInt(this.memory.revision)) this.memory = { ...this.memory, revision: seen.revision, generation: Math.max(this.memory.generation, this.options.generation()) };
  }

  /** Is there more to write than how far etcd is, or has that waited long enough? */
  private isDue(): boolean {
    const waited = this.options.clock.monotonicMs() - this.writtenMs >= writeEveryMs - lookEveryMs / 2;
    return waited || JSON.stringify({ ...this.memory, revision: "" }) !== JSON.stringify({ ...this.written, revision: "" });
  }

  private async save(): Promise<void> {
    const { memory } = this;
    // replaced when it changes
    if (memory === undefined || memory === this.written) return;
    const nowMs = this.options.clock.monotonicMs();
    await this.options.file.write(memory);
    this.written = memory;
    this.writtenMs = nowMs;
  }
}
