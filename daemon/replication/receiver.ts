import type { Readable } from "node:stream";
import { trashDataset } from "../agent/names.js";
import type { NodeContext, PeerRequest } from "../context.js";
import { Promises } from "../failsafe/promises.js";
import { HcError } from "../lib/errors.js";
import { comesBack, keys, type SessionRecord, type UnitRecord } from "../lib/records.js";
import { isRecovering } from "../state/cluster-state.js";
import { userPrefix } from "../zfs/commands.js";
import { zfsFailure } from "../zfs/errors.js";
import { remembered } from "../zfs/snapshot-memory.js";
import type { LookOptions, Snapshot } from "../zfs/zfs.js";
import { type FramedCounts, unframe } from "./frames.js";
import type { HoldBook } from "./hold-book.js";
import { holdTag, keepTag } from "./holds.js";
import type { Counters } from "./metrics.js";
import { Partials } from "./partials.js";
import { changedProperties, drain, receiveInto, watchIdle } from "./receive-into.js";
import { keepsOut, laterSeal, parseSeal, type Seal, sealRefusal, sealText, takesStream } from "./seal.js";
import { Stasher } from "./stash.js";
import { readHead, readSeal, readStash, type StreamAck, type StreamHead, partsVersion, readAbandon, type UnitSnapshots, wireVersion } from "./wire.js";

export type ReceiverContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "view" | "store" | "session" | "clock" | "log" | "event">;
/** A sender that is silent for so long is taken for gone, ms. */
const idleMs = 20_000;
const maxRemembered = 10_000;

/**
 * The replica's side. Invariants: a stream is taken only from the home that the record names, at an epoch that is not below any this node knows of the unit
 * (OWNERSHIP 10), never after a seal, never into a mounted dataset, never with -F, and one that continues a cut one (partials.ts) is under all the same rules; nothing is acknowledged that `zfs get` does not show with the sender's guid.
 */
export class Receiver {
  /** unit → guids held by keepTag since this epoch (a change of roles may have released them); what is not known is held again, which is success. */
  private readonly kept = new Map<string, { epoch: number; guids: Set<string> }>();
  /** guids that were held by one tag when the home's was released from them. */
  private readonly released = new Set<string>();
  /** unit → the receive that runs. A new stream of the same unit ends it: its sender makes one at a time, so the old one is dead. */
  private readonly running = new Map<string, { abort: AbortController; ended: Promise<unknown>; /** Ends when the copy is not being taken apart any more, by it or by one that it waits for. */ stashed?: Promise<unknown> | undefined }>();
  /** Seals as they are on the datasets (`recover`), and those of this process. */
  private readonly seals = new Map<string, Seal>();
  /** What homes were promised while etcd did not commit; never what is sealed, and the other way round. */
  public readonly promises: Promises;
  private readonly stasher: Stasher;
  private readonly partials: Partials;
  public constructor(
    private readonly context: ReceiverContext,
    private readonly parts: { counters: Counters; holds: HoldBook; wantTemplate(name: string, version: string, from: string): void },
  ) {
    this.stasher = new Stasher(context);
    this.partials = new Partials(context);
    this.promises = new Promises(context, (unit) => this.seals.get(unit));
  }

  private dataset(unit: string): string {
    return `${this.context.cluster.dataset}/${unit}`;
  }
  /** Everything, unless the caller takes what is remembered; and it is remembered for others. */
  private look(unit: string, how: LookOptions = { maxAgeMs: 0 }): ReturnType<ReceiverContext["zfs"]["look"]> {
    return this.context.zfs.look(this.dataset(unit), how);
  }
  /**
   * The same, before somebody concludes that a first stream is wanted. Throws NOT_READY while the unit's copy is to come back out of the trash, or lies in a stash that is half done: the agent's rename would find its
   * name taken, or the stream would. The trash is looked at first, so a rename in between is seen under the name.
   */
  private async lookBack(unit: string, record: UnitRecord | undefined): ReturnType<Receiver["look"]> {
    const { cluster, host, zfs } = this.context;
    const id = record?.restoreFrom;
    const kept = id !== undefined && comesBack(record, id, host.node) ? await zfs.look(trashDataset(cluster.dataset, id)) : undefined;
    const seen = await this.look(unit);
    if (seen === undefined && kept?.dataset.user["unit"] === unit) throw new HcError("NOT_READY", `${host.node}: its copy of ${unit} comes back out of the trash (${id}).`);
    if (seen === undefined && (await this.stasher.find()).includes(unit)) throw new HcError("NOT_READY", `${host.node}: its copy of ${unit} is half way into the stash, which is finished first.`);
    return seen;
  }

  /**
   * `GET /peer/v1/units/<id>/snapshots[?template=&version=&guid=][&wire=2]`: what is here, live. Asks for the template when it is not here. `wire=2`, from a home that can continue streams: what is kept
   * of a cut one is told too. The home is done with it then, so a receive that has not noticed yet is ended first.
   */
  public async snapshots(unit: string, query: URLSearchParams, from: string): Promise<UnitSnapshots> {
    const answer = async (): Promise<UnitSnapshots> => {
      const seen = await this.lookBack(unit, this.context.view.current().units.get(unit)?.value);
      return this.describe(seen, await this.origin(seen === undefined, query, from));
    };
    // a copy that is just being taken apart shows no snapshot for a moment: what the home decided from that would be a second stash and a full stream
    await this.running.get(unit)?.stashed;
    if (this.stasher.isHalfDone(unit)) await this.finishStash(unit);
    if (query.get("wire") !== String(partsVersion) || !this.partials.isOn || this.context.view.current().units.get(unit)?.value.home !== from) return answer();
    return this.alone(unit, async () => {
      const { guid, epoch, generation, token } = this.partials.of(unit) ?? {};
      return { ...(await answer()), version: partsVersion, parts: true, ...(guid === undefined || epoch === undefined || generation === undefined || token === undefined ? {} : { partial: { guid, epoch, generation, token } }) };
    });
  }
  /** Is the template's snapshot here that a first stream would be an increment of? It is asked for when not. */
  private async origin(isWanted: boolean, query: URLSearchParams, from: string): Promise<boolean> {
    const [template, version, guid] = [query.get("template"), query.get("version"), query.get("guid")];
    if (!isWanted || template === null || version === null || guid === null) return false;
    const held = await this.context.zfs.snapshots(this.dataset(`tmpl-${template}`)).catch((error: unknown) => {
      if (zfsFailure(error) === "missing") return [];
      throw error;
    });
    const holdsOrigin = held.some((snapshot) => snapshot.guid === guid);
    if (!holdsOrigin) this.parts.wantTemplate(template, version, from);
    return holdsOrigin;
  }
  private describe(seen: Awaited<ReturnType<Receiver["look"]>>, holdsOrigin: boolean): UnitSnapshots {
    return {
      version: wireVersion,
      exists: seen !== undefined,
      mounted: seen?.dataset.mounted ?? false,
      epoch: Number(seen?.dataset.user["epoch"] ?? "0"),
      snapshots: (seen?.snapshots ?? []).map(({ name, guid: id, createtxg, atMs }) => ({ name, guid: id, createtxg, atMs })),
      holdsOrigin,
    };
  }

  /**
   * `POST /peer/v1/units/<id>/seal`, from the leader when the home's session was declared dead: from now on no stream of that owner is taken, one that runs is ended; then what
   * the disk holds is told (OWNERSHIP 10). Throws CONFLICT when the record or the session says something else: the caller's picture is old; PROMISED while the home may count on this copy.
   */
  public async seal(unit: string, body: unknown): Promise<UnitSnapshots> {
    const { epoch, generation } = readSeal(body);
    const me = this.context.host.node;
    const stored = await this.context.store.get(keys.unit(unit));
    const record = stored === undefined ? undefined : (JSON.parse(stored.value) as UnitRecord);
    const session = record === undefined ? undefined : await this.context.store.get(keys.session(record.home));
    const why = sealRefusal(record, session === undefined ? undefined : (JSON.parse(session.value) as SessionRecord), { epoch, generation });
    if (why !== "") throw new HcError("CONFLICT", `${me} does not seal ${unit}: ${why}.`);
    this.promises.assertNone(unit);
    const seal = laterSeal(this.seals.get(unit), { epoch, generation }); // in the same turn: no promise can come between
    this.seals.set(unit, seal);
    return this.alone(unit, async () => {
      await this.partials.abandon(unit, "sealed");
      const seen = await this.stasher.whole(unit, () => this.look(unit));
      if (seen !== undefined && seen.dataset.user["sealed"] !== sealText(seal)) await this.context.zfs.set(this.dataset(unit), { [`${userPrefix}sealed`]: sealText(seal) });
      return this.describe(seen, false);
    });
  }

  /** `POST /peer/v1/units/<id>/stash`, from the home that was refused: what this copy holds beyond the common snapshot goes out of the way. The stash's id, "" when there was nothing. */
  public async stash(unit: string, body: unknown, from: string): Promise<{ version: number; stash: string }> {
    const { epoch, common, modified } = readStash(body);
    const record = await this.record({ unit, epoch }, from);
    return { version: wireVersion, stash: await this.takeAway(unit, { common, modified, owner: record.epoch }) };
  }
  /** The same for a copy that is about to become the home here: everything after the snapshot at which its epoch starts. */
  public async stashTail(unit: string, record: Pick<UnitRecord, "epoch" | "epochStartGuid">): Promise<string> {
    return this.takeAway(unit, { common: record.epochStartGuid, modified: false, owner: record.epoch });
  }
  private takeAway(unit: string, what: Parameters<Stasher["take"]>[1]): Promise<string> {
    return this.alone(unit, async () => {
      await this.partials.abandon(unit, "the history that it belongs to goes out of the way");
      return this.stasher.take(unit, what);
    }, { isStash: true });
  }
  /** `POST /peer/v1/units/<id>/abandon`, from the home: it has no use for what is kept here of a cut stream. */
  public async abandon(unit: string, body: unknown, from: string): Promise<{ version: number }> {
    const { epoch } = readAbandon(body);
    await this.record({ unit, epoch }, from);
    await this.alone(unit, () => this.partials.abandon(unit, "the home has its snapshot no more"));
    return { version: wireVersion };
  }
  private finishStash(unit: string): Promise<void> {
    return this.alone(unit, () => this.stasher.finish(unit), { isStash: true });
  }
  /** Finishes stashes that were left half done, and gives up what is kept of cut streams that nobody will continue. */
  public async sweep(): Promise<void> {
    for (const unit of await this.stasher.find()) await this.finishStash(unit).catch((err: unknown) => this.context.log.warn({ unit, err }, "a stash is still half done: its unit has no copy here; tried again in a minute"));
    if (isRecovering(this.context.view.current())) return;
    for (const unit of this.partials.stale()) await this.alone(unit, async () => (this.partials.stale().includes(unit) ? this.partials.abandon(unit, "its owner is not the home any more, or no copy is wanted here") : undefined));
  }
  /** What a crash has left half done is finished, and what was sealed is known again, before anything is answered. */
  public async recover(): Promise<void> {
    const root = `${this.context.cluster.dataset}/`;
    const all = await this.context.zfs.datasets(this.context.cluster.dataset);
    for (const { name, user } of all) {
      const seal = parseSeal(user["sealed"]);
      if (seal !== undefined && name.startsWith(root)) this.seals.set(name.slice(root.length), seal);
    }
    await this.partials.recover(all);
    await this.stasher.recover(all);
  }

  /** Ends the receive that runs, and keeps the next one waiting. */
  private alone<T>(unit: string, act: () => Promise<T>, what: { isStash?: boolean } = {}): Promise<T> {
    const before = this.running.get(unit);
    before?.abort.abort();
    const abort = new AbortController();
    const result = (before?.ended ?? Promise.resolve()).then(act);
    const ended = result.then(
      () => undefined,
      () => undefined,
    ).then(() => this.leave(unit, abort));
    this.running.set(unit, { abort, ended, stashed: what.isStash === true ? ended : before?.stashed });
    return result;
  }
  private leave(unit: string, abort: AbortController): void {
    if (this.running.get(unit)?.abort === abort) this.running.delete(unit);
  }

  /** The record, read anew from etcd when the cached one does not fit the stream. */
  private async record(head: Pick<StreamHead, "unit" | "epoch">, from: string): Promise<UnitRecord> {
    const me = this.context.host.node;
    if (isRecovering(this.context.view.current())) throw new HcError("NOT_READY", `${me} takes no stream while the cluster recovers: no record is trusted.`);
    const cached = this.context.view.current().units.get(head.unit)?.value;
    const fits = (record: UnitRecord): boolean => takesStream(record, me, from, head.epoch);
    if (cached !== undefined && fits(cached)) return cached;
    const stored = await this.context.store.get(keys.unit(head.unit));
    const record = stored === undefined ? undefined : (JSON.parse(stored.value) as UnitRecord);
    if (record !== undefined && fits(record)) return record;
    if (record === undefined) throw new HcError("NOT_READY", `${me} knows no record of ${head.unit}.`);
    if (record.epoch !== head.epoch || record.home !== from) throw new HcError("NOT_HOME", `${me} refuses a stream of ${head.unit} from ${from} at epoch ${head.epoch}: its home is ${record.home} at epoch ${record.epoch}.`);
    throw new HcError("NOT_HOME", `${me} is no replica of ${head.unit} at epoch ${head.epoch}.`);
  }

  /** `PUT /peer/v1/streams/<unit>`. */
  public async receive(unit: string, request: Pick<PeerRequest, "from" | "stream">): Promise<StreamAck> {
    const counts: FramedCounts = { payloadBytes: 0 };
    const abort = new AbortController();
    const watch = watchIdle(request.stream, idleMs);
    try {
      const { version, head: raw, payload } = await unframe(request.stream, counts);
      const head = readHead(raw);
      // only frames of version 2 are each verified before zfs may keep them
      if (version !== head.version) throw new HcError("INVALID_INPUT", `A stream in frames of version ${version} has a head of version ${head.version}.`);
      if (head.unit !== unit) throw new HcError("INVALID_INPUT", `The stream is of ${head.unit}, not of ${unit}.`);
      const record = await this.record(head, request.from);
      const before = this.running.get(unit);
      before?.abort.abort();
      const stored = (before?.ended ?? Promise.resolve()).then(() => this.store(head, payload, record, abort.signal));
      // the answer does not wait for the holds: until they have moved, the old ones and the newest snapshot keep the common ground
      const ended = stored
        .then(
          (after) => this.moveHolds(this.dataset(unit), head, record, after, abort.signal).catch((error: unknown) => this.context.log.warn({ unit, err: error }, "holds not moved")),
          () => undefined,
        )
        .then(() => this.leave(unit, abort));
      this.running.set(unit, { abort, ended, stashed: before?.stashed });
      await stored;
      return { version: wireVersion, guid: head.guid, snapshot: head.snapshot };
    } catch (error) {
      this.context.log.info({ unit, peer: request.from, err: error }, "stream refused or broken");
      await drain(request.stream);
      throw error;
    } finally {
      watch();
      this.parts.counters.add("hc_replication_received_bytes_total", { peer: request.from }, counts.payloadBytes);
    }
  }

  private async store(head: StreamHead, payload: Readable, record: UnitRecord, signal: AbortSignal): Promise<readonly Snapshot[]> {
    if (signal.aborted) throw new HcError("NOT_READY", `${head.unit}: a newer stream took over.`);
    const me = this.context.host.node;
    const name = this.dataset(head.unit);
    const isFirst = head.baseGuid === "" || head.clone;
    await this.stasher.finish(head.unit);
    let seen = await (isFirst ? this.lookBack(head.unit, record) : this.look(head.unit, remembered));
    // zfs itself refuses an increment that is not of the newest snapshot, and what it has received is asked for by name; what is remembered is no reason to refuse a stream, and none to acknowledge one that is said to have come before
    if (!isFirst && seen?.snapshots.at(-1)?.guid !== head.baseGuid) seen = await this.look(head.unit);
    if (seen?.dataset.mounted === true) throw new HcError("NOT_READY", `${head.unit} is still mounted on ${me}.`);
    const localEpoch = Number(seen?.dataset.user["epoch"] ?? "0");
    if (localEpoch > head.epoch) throw new HcError("NOT_HOME", `${me} holds ${head.unit} at epoch ${localEpoch} and refuses a stream of epoch ${head.epoch}.`);
    const seal = parseSeal(seen?.dataset.user["sealed"]);
    const owner = { epoch: head.epoch, generation: head.generation ?? 0 };
    for (const one of [seal, this.seals.get(head.unit)]) if (keepsOut(one, owner)) throw new HcError("NOT_HOME", `${me} has sealed ${head.unit}: its owner of epoch ${owner.epoch}, generation ${owner.generation} was declared dead.`);
    if ((this.seals.get(head.unit)?.epoch ?? head.epoch) < head.epoch) this.seals.delete(head.unit); // an older owner's: the record keeps that one out now
    if (seen === undefined && record.state === "deleting") throw new HcError("NOT_HOME", `${head.unit} is being deleted; ${me} takes no new copy.`);
    if (seen?.snapshots.at(-1)?.guid === head.guid) {
      for await (const _chunk of payload); // received before; its answer was lost
    } else {
      if (seen !== undefined && isFirst) throw new HcError("ALREADY_EXISTS", `${me} already holds ${head.unit}; a first stream is refused.`);
      if (seen === undefined && !isFirst) throw new HcError("NOT_FOUND", `${me} does not hold ${head.unit}; an increment is refused.`);
      if (seen !== undefined && seen.snapshots.at(-1)?.guid !== head.baseGuid) throw new HcError("NO_COMMON_SNAPSHOT", `${me}: the newest snapshot of ${head.unit} is not the base of the increment.`);
      const partial = head.resume === true ? this.partials.assertFits(head.unit, owner, seal, head.guid) : undefined;
      if (partial === undefined) await this.partials.abandon(head.unit, "another stream came");
      const properties = changedProperties(head, seen?.dataset);
      if (head.version < partsVersion || !this.partials.isOn) await receiveInto(this.context.zfs, name, payload, properties, signal, { snapshot: head.snapshot });
      else await this.partials.receive({ unit: head.unit, guid: head.guid, owner, isFirst: seen === undefined, partial }, (dataset, more) => receiveInto(this.context.zfs, dataset, payload, { ...properties, ...more }, signal, { resumable: true, snapshot: head.snapshot }));
    }
    const after = (await this.look(head.unit, remembered))?.snapshots ?? [];
    if (after.at(-1)?.guid !== head.guid) throw new HcError("INTERNAL", `${me}: ${head.unit}@${head.snapshot} has guid ${after.at(-1)?.guid ?? "none"} after the receive, not ${head.guid}; not acknowledged.`);
    return after;
  }

  /** Held from now on: the newest snapshot for the home, and what the home keeps for others. New holds first; the old ones go later, and are left to the next stream when it waits already (requests may wait for it: a move's last one), and to the own sends when this node is about to be home. */
  private async moveHolds(dataset: string, head: StreamHead, record: UnitRecord, all: readonly Snapshot[], signal: AbortSignal): Promise<void> {
    const { holds } = this.parts;
    const full = (snapshot: Snapshot): string => `${dataset}@${snapshot.name}`;
    const kept = all.filter((snapshot) => snapshot.guid !== head.guid && head.keep.includes(snapshot.guid));
    await holds.hold(holdTag(record.home), `${dataset}@${head.snapshot}`);
    const before = this.kept.get(head.unit);
    await Promise.all(kept.filter(({ guid }) => before?.epoch !== head.epoch || !before.guids.has(guid)).map((snapshot) => holds.hold(keepTag, full(snapshot))));
    const guids = new Set(kept.map((snapshot) => snapshot.guid));
    for (const snapshot of all) {
      if (snapshot.userrefs === 0 || snapshot.guid === head.guid) continue;
      if (signal.aborted || this.takesOver(head.unit)) return void this.kept.set(head.unit, { epoch: head.epoch, guids: new Set([...(before?.epoch === head.epoch ? before.guids : []), ...guids]) });
      const [isKept, keptBefore, leaves] = [kept.includes(snapshot), before?.guids.has(snapshot.guid) === true, holds.isLeaving(full(snapshot))];
      if (!isKept || !keptBefore) holds.releaseLater(holdTag(record.home), full(snapshot));
      if (isKept) continue;
      const stray = !leaves && (snapshot.userrefs > 1 || this.released.has(snapshot.guid)); // held by one more, or let go of once before: holds of earlier roles
      if (stray || keptBefore) holds.releaseLater(keepTag, full(snapshot));
      if (stray) for (const node of record.replicas) holds.releaseLater(holdTag(node), full(snapshot));
      if (stray) this.released.delete(snapshot.guid);
      else if (!keptBefore && !leaves) this.released.add(snapshot.guid);
    }
    if (this.released.size > maxRemembered) this.released.clear();
    this.kept.set(head.unit, { epoch: head.epoch, guids });
  }

  /** Is the unit on its way here, and stopped at its home? Requests wait for it, and whatever the pool does now. */
  private takesOver(unit: string): boolean {
    const record = this.context.view.current().units.get(unit)?.value;
    const { node } = this.context.host;
    return record?.home === node || (record?.move?.target === node && record.move.phase === "stopping");
  }

  public isReceiving(unit: string): boolean {
    return this.running.has(unit);
  }

  public async stop(): Promise<void> {
    for (const { abort } of this.running.values()) abort.abort();
    await Promise.allSettled([...this.running.values()].map(({ ended }) => ended));
  }
}
