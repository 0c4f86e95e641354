import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";
import { keptNames } from "../vault/kept.js";
import { remembered } from "../zfs/snapshot-memory.js";
import type { LookOptions, Snapshot } from "../zfs/zfs.js";
import { type FramedCounts, frame } from "./frames.js";
import type { HoldBook } from "./hold-book.js";
import { holdTag, ourHolds, PairHolds } from "./holds.js";
import type { InUse } from "./in-use.js";
import type { LagBook } from "./lag.js";
import { type Decision, decide, type Origin, type Step, stepsOf } from "./logic.js";
import { Locks } from "../lib/locks.js";
import type { Counters } from "./metrics.js";
import type { RateLimit } from "./rate-limit.js";
import { mayRecord } from "./snapshotter.js";
import { isSendable, readAck, readUnitSnapshots, type StreamHead, partsVersion, type UnitSnapshots, wireVersion } from "./wire.js";

export type SenderContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "view" | "session" | "peers" | "clock" | "log">;
/** Rest after leftovers could not be released, ms. */
const tidyAgainMs = 60_000;
/** A stream with no byte for so long is given up, ms. */
const idleTimeoutMs = 20_000;

export interface Sent { guid: string; snapshot: string; bytes: number; kind: Decision["kind"] }
interface Pair { holds: PairHolds; /** The last attempt failed after a stream began: what the replica has is not known. */ doubtful: boolean }
/** The replica takes streams in parts; `partial`: what it kept of a cut one. */
interface Parts { partial: UnitSnapshots["partial"] }
interface Plan { decision: Decision; steps: Step<Snapshot>[]; target: Snapshot; /** Oldest first, as they were when this was decided. */ local: readonly Snapshot[]; keep: Snapshot[]; definition: string | undefined; endUse: () => void }

/**
 * The home's side of one attempt: look, decide, hold, stream, check the answers, let go. Every target is held before its stream begins and the base until the
 * answer is in: whatever the replica has in the end is still here (an answer may be lost after the receive). Looking and holding are one step under a lock of
 * the unit, so that each send sees what every other one may have given away (see stepsOf).
 */
export class Sender {
  private readonly pairs = new Map<string, Pair>();
  private readonly locks = new Locks();
  /** unit → epoch and replica list whose leftovers of earlier roles were released, or will be tried again at that time, monotonic ms. */
  private readonly tidied = new Map<string, { key: string; againMs: number }>();
  public constructor(
    private readonly context: SenderContext,
    private readonly parts: { lag: LagBook; counters: Counters; rate: RateLimit; inUse: InUse; holds: HoldBook },
  ) {}

  /** The record of a unit that is at home here, with a live session. Throws NOT_HOME. */
  public ownRecord(unit: string): UnitRecord {
    const record = this.context.view.current().units.get(unit)?.value;
    if (record === undefined || record.home !== this.context.host.node) {
      this.forget(unit);
      throw new HcError("NOT_HOME", `${unit} is not at home on ${this.context.host.node}.`);
    }
    if (!this.context.session.owns(unit)) throw new HcError("NOT_HOME", `${unit}: this node's session is not live.`);
    return record;
  }
  /** Not home any more: what was known of its replicas and holds may change without us. */
  private forget(unit: string): void {
    this.retain((other) => other !== unit);
  }
  /** Keeps what is known of these pairs only; holds of the others are let go at the unit's next success, or by `tidyAlone`. */
  public retain(wanted: (unit: string, node: string) => boolean): void {
    for (const key of this.pairs.keys()) {
      const [unit = "", node = ""] = key.split("\0");
      if (wanted(unit, node)) continue;
      this.pairs.delete(key);
      this.tidied.delete(unit);
    }
  }

  /** Brings `node` to the newest snapshot that exists now. A copy there that holds another history is asked to put it into its stash first (OWNERSHIP 12). */
  public async send(unit: string, node: string, signal: AbortSignal): Promise<Sent> {
    try {
      return await this.attempt(unit, node, signal);
    } catch (error) {
      const other = otherHistory(error);
      if (other === undefined) throw error;
      const { epoch } = this.ownRecord(unit);
      const { stash } = await this.context.peers.call<{ stash: string }>(node, "POST", `/peer/v1/units/${unit}/stash`, { version: wireVersion, epoch, ...other }, { timeoutMs: 60_000, signal });
      if (stash === "") throw error;
      this.context.log.warn({ unit, peer: node, stash, reason: messageOf(error) }, "the copy held another history, which is in its stash now");
      return await this.attempt(unit, node, signal);
    }
  }
  private async attempt(unit: string, node: string, signal: AbortSignal): Promise<Sent> {
    const record = this.ownRecord(unit);
    // a home that has just taken over a dead node's units would ask its disk about each of them again and again, for nobody; whoever is back is sent to at once
    if (this.context.view.current().sessions.get(node)?.value.dead === true) throw new HcError("UNREACHABLE", `${node} was declared dead; ${unit} is sent to it when it is back.`);
    const dataset = `${this.context.cluster.dataset}/${unit}`;
    const key = `${unit}\0${node}`;
    const pair = this.pairs.get(key) ?? { holds: new PairHolds(this.parts.holds, dataset, holdTag(node)), doubtful: true };
    this.pairs.set(key, pair);
    if (!pair.doubtful)
      try {
        const plan = await this.plan(record, node, dataset, pair, remembered, (local) => this.fromMemory(unit, node, local));
        if (plan !== undefined) return await this.carryOut(record, node, dataset, pair, plan, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error; // else: the replica is not what we remember; look, below
      }
    const origin = await this.originOf(record, dataset);
    // after a look the stream is a first one, or one after another that broke: these may be large, and are sent so that they can be continued, where both can do that
    const inParts = await this.context.zfs.resumable();
    const query = new URLSearchParams({ ...(origin === undefined ? {} : { template: record.origin.template, version: record.origin.version, guid: origin.guid }), ...(inParts ? { wire: String(partsVersion) } : {}) }).toString();
    const answer = await this.context.peers.call(node, "GET", `/peer/v1/units/${unit}/snapshots${query === "" ? "" : `?${query}`}`, undefined, { timeoutMs: 15_000, signal });
    const remote = readUnitSnapshots(answer, node);
    const plan = await this.plan(record, node, dataset, pair, {}, (local) => possible(record, node, this.context.host.node, decide(local, remote, origin)));
    if (plan === undefined) throw new HcError("NOT_READY", `${unit} has no snapshot yet.`);
    if (remote.partial !== undefined && plan.steps.length === 0) await this.context.peers.call(node, "POST", `/peer/v1/units/${unit}/abandon`, { version: partsVersion, epoch: record.epoch }, { timeoutMs: 60_000, signal });
    return await this.carryOut(record, node, dataset, pair, plan, signal, remote.parts === true ? { partial: remote.partial } : undefined);
  }

  private fromMemory(unit: string, node: string, local: readonly Snapshot[]): Decision {
    const base = local.find((snapshot) => snapshot.guid === this.parts.lag.confirmedGuid(unit, node));
    const target = local.findLast(isSendable);
    return base === undefined || target === undefined || local.indexOf(base) >= local.indexOf(target) ? { kind: "nothing" } : { kind: "incremental", base, target };
  }

  /** The template's snapshot, if the dataset still is a clone of it. */
  private async originOf(record: UnitRecord, dataset: string): Promise<Origin | undefined> {
    if (record.origin.guid === "") return undefined;
    const template = `${this.context.cluster.dataset}/tmpl-${record.origin.template}`;
    const own = (await this.context.zfs.look(dataset))?.dataset;
    if (own?.origin !== `${template}@${record.origin.version}`) return undefined;
    const snapshot = (await this.context.zfs.snapshots(template)).find((item) => item.guid === record.origin.guid);
    return snapshot === undefined ? undefined : { snapshot: own.origin, guid: snapshot.guid };
  }

  /** Look, decide and hold. `how`: histories are compared by all that is here now, and never by what is remembered. Undefined: nothing to send that is known of. */
  private plan(record: UnitRecord, node: string, dataset: string, pair: Pair, how: LookOptions, choose: (local: readonly Snapshot[]) => Decision): Promise<Plan | undefined> {
    return this.locks.run(dataset, async () => {
      // one command for the snapshots and for what goes along with them
      const seen = await this.context.zfs.look(dataset, how);
      const local = this.parts.holds.withoutWaiting(dataset, seen?.snapshots ?? []);
      const decision = choose(local);
      if (decision.kind === "nothing" || decision.kind === "needs-origin" || decision.kind === "diverged" || decision.kind === "no-common") return undefined;
      const target = local.find((snapshot) => snapshot.guid === decision.target.guid) as Snapshot;
      const steps = decision.kind === "up-to-date" ? [] : stepsOf(dataset, local, decision, new Set(keptNames(record, this.context.clock.wallMs())));
      const base = decision.kind === "incremental" ? [decision.base.name] : [];
      const names = [...base, target.name, ...steps.map((step) => step.target.name)];
      const endUse = this.parts.inUse.use([...names.map((name) => `${dataset}@${name}`), ...(decision.kind === "from-origin" ? [decision.origin.snapshot] : [])]);
      try {
        // what is held here beside this pair's own is ground that another copy needs; of two copies there is no other (and what is just being let go of would look like it)
        const isShared = [...record.replicas, ...(record.move === undefined ? [] : [record.move.target])].some((other) => other !== node && other !== record.home);
        const keep = isShared ? pair.holds.heldForOthers(local) : [];
        await pair.holds.hold(names);
        if (pair.doubtful) await pair.holds.keepOnly(names, async () => local);
        return { decision, steps, target, local, keep, definition: seen?.dataset.user["definition"], endUse };
      } catch (error) {
        endUse();
        throw error;
      }
    });
  }

  private async carryOut(record: UnitRecord, node: string, dataset: string, pair: Pair, plan: Plan, signal: AbortSignal, parts?: Parts): Promise<Sent> {
    let bytes = 0;
    try {
      if (plan.steps.length > 0) pair.doubtful = true;
      for (const [index, step] of plan.steps.entries()) {
        const keep = plan.keep.filter((snapshot) => snapshot !== step.target).map((snapshot) => snapshot.guid);
        bytes += await this.stream(record, node, dataset, step, { keep, definition: plan.definition, parts: index === 0 || parts === undefined ? parts : { partial: undefined } }, signal);
        this.confirmed(record.unit, node, step.target, plan.local);
      }
      await pair.holds.keepOnly([plan.target.name], () => this.context.zfs.snapshots(dataset));
      pair.doubtful = false;
    } finally {
      plan.endUse();
    }
    this.confirmed(record.unit, node, plan.target, plan.local);
    await this.tidy(record, dataset);
    this.context.log.debug({ unit: record.unit, peer: node, snapshot: plan.target.name, kind: plan.decision.kind, bytes }, "replica confirmed");
    return { guid: plan.target.guid, snapshot: plan.target.name, bytes, kind: plan.decision.kind };
  }

  private confirmed(unit: string, node: string, { guid, name }: Snapshot, local: readonly Snapshot[]): void {
    const upTo = local.slice(0, local.findIndex((snapshot) => snapshot.guid === guid) + 1).map((snapshot) => snapshot.name);
    this.parts.lag.confirmed(unit, node, { guid, snapshot: name }, this.context.clock.wallMs(), upTo);
  }

  /** Sends one snapshot and returns the bytes when the replica has acknowledged its guid. */
  private async stream(record: UnitRecord, node: string, dataset: string, { base, target }: Step<Snapshot>, { keep, definition, parts }: { keep: string[]; definition: string | undefined; parts: Parts | undefined }, signal: AbortSignal): Promise<number> {
    const { unit } = record;
    const token = await this.tokenFor(record, `${dataset}@${target.name}`, target.guid, parts?.partial);
    const kind = token !== undefined ? "resumed" : base === undefined ? "full" : base.clone ? "from-origin" : "incremental";
    const counts: FramedCounts = { payloadBytes: 0 };
    const abort = new AbortController();
    const ended = AbortSignal.any([signal, abort.signal]);
    try {
      // the unit's identity, so that a pulled disk tells what it holds; other properties are each node's own
      const properties = { unit, epoch: String(record.epoch), home: record.home, ...(definition === undefined ? {} : { definition }) };
      const head: StreamHead = { version: parts === undefined ? wireVersion : partsVersion, unit, epoch: record.epoch, generation: record.homeGeneration, snapshot: target.name, guid: target.guid, baseGuid: base?.guid ?? "", clone: base?.clone ?? false, properties, keep, ...(parts === undefined ? {} : { resume: token !== undefined }) };
      const { stream, done } = token === undefined ? this.context.zfs.send(`${dataset}@${target.name}`, base?.snapshot, ended) : this.context.zfs.resume(token, ended);
      done.catch(() => undefined); // its error also ends the stream
      const body = frame(head, this.parts.rate.through(stream, ended), counts, parts === undefined ? 1 : 2);
      const answer = await this.context.peers.upload(node, `/peer/v1/streams/${unit}`, { "content-type": "application/x-hybridcluster-stream" }, body, { idleTimeoutMs, signal: ended });
      const ack = readAck(answer, node);
      await done;
      if (ack.guid !== target.guid) throw new HcError("INTERNAL", `${node} acknowledged guid ${ack.guid} for ${unit}@${target.name}, not ${target.guid}.`);
      return counts.payloadBytes;
    } catch (error) {
      if (errorCode(error) === "DIVERGED" && base !== undefined) throw new HcError("DIVERGED", `${unit}: the copy on ${node} was written to after the last snapshot that it has from here; that must be stashed first.`, { context: { unit, node, common: base.guid, modified: true }, cause: error });
      // a receive leaves all, nothing, or a part that the next look tells of, so whatever became of the stream, it may be tried again
      if (errorCode(error) !== "COMMAND_FAILED" && errorCode(error) !== "INTERNAL") throw error;
      throw new HcError("COMMAND_FAILED", messageOf(error), { retry: "transient", cause: error, context: (error as HcError).context });
    } finally {
      abort.abort(); // ends a send whose reader is gone
      this.parts.counters.add("hc_replication_sent_bytes_total", { peer: node }, counts.payloadBytes);
      this.parts.counters.add("hc_replication_streams_total", { peer: node, kind });
    }
  }

  /** The token by which a cut stream of this snapshot is continued. Undefined: it begins anew, and the replica gives up what it kept. */
  private async tokenFor(record: UnitRecord, snapshot: string, guid: string, partial: NonNullable<UnitSnapshots["partial"]> | undefined): Promise<string | undefined> {
    if (partial === undefined || partial.guid !== guid || partial.epoch !== record.epoch || partial.generation > record.homeGeneration) return undefined;
    try {
      // the token comes from another node: it must not make this one send something else
      const meant = await this.context.zfs.readToken(partial.token);
      if (meant.snapshot === snapshot && meant.guid === guid) return partial.token;
      this.context.log.warn({ unit: record.unit, meant: meant.snapshot, snapshot }, "a resume token is for something else; the stream begins anew");
    } catch (error) {
      this.context.log.info({ unit: record.unit, snapshot, err: error }, "a cut stream cannot be continued and begins anew");
    }
    return undefined;
  }

  /** The same for a unit that has no copy elsewhere, and gets none: nothing would be sent, at whose success it is done. No command once it is done. */
  public async tidyAlone(record: UnitRecord): Promise<void> {
    if (mayRecord(record, this.context.session)) await this.tidy(record, `${this.context.cluster.dataset}/${record.unit}`);
  }
  /** Once every replica has its own hold: what this node kept for others as a replica, and for nodes that are replicas no more, is let go. What fails is no failure of the send, and is tried again later. */
  private async tidy(record: UnitRecord, dataset: string): Promise<void> {
    const { unit, epoch, replicas } = record;
    const { zfs, cluster, clock, log, view } = this.context;
    // it may have been handed over since the answer came: what is held here now is its new home's business
    const present = (): UnitRecord | undefined => {
      const now = view.current().units.get(unit)?.value;
      return now?.home === record.home ? now : undefined;
    };
    if (present() === undefined) return;
    const key = `${epoch} ${replicas.join(" ")}`;
    const known = this.tidied.get(unit);
    if ((known?.key === key && clock.monotonicMs() < known.againMs) || replicas.some((node) => this.pairs.get(`${unit}\0${node}`)?.doubtful !== false)) return;
    const mine = { key, againMs: clock.monotonicMs() + tidyAgainMs };
    this.tidied.set(unit, mine); // at once: others do not begin it too
    try {
      const all = await ourHolds(zfs, dataset, await zfs.snapshots(dataset), cluster.members.map(({ node }) => node));
      // as it is now: a copy may have been ordered meanwhile, and its holds are among these
      const now = present();
      if (now === undefined) return;
      const own = [...replicas, ...now.replicas, ...(now.move === undefined ? [] : [now.move.target])].map(holdTag);
      for (const [tag, snapshot] of all) if (!own.includes(tag)) this.parts.holds.releaseLater(tag, snapshot);
      mine.againMs = Number.POSITIVE_INFINITY;
    } catch (err) {
      log.info({ unit, err }, "holds of earlier roles could not be released; tried again in a minute");
    }
  }
}

/** Throws for decisions that no stream can carry out. */
function possible(record: UnitRecord, node: string, me: string, decision: Decision): Decision {
  const { unit } = record;
  switch (decision.kind) {
    case "needs-origin":
      throw new HcError("NOT_READY", `${node} has not received the template ${record.origin.template}@${record.origin.version} yet.`);
    case "diverged":
      throw new HcError("DIVERGED", `${unit}: ${node} holds ${decision.remoteOnly.length} snapshots after ${decision.common.name} that ${me} does not have (${decision.remoteOnly.slice(0, 3).join(", ")}); its history must be stashed first.`, { context: { unit, node, common: decision.common.guid } });
    case "no-common":
      throw new HcError("NO_COMMON_SNAPSHOT", `${unit}: the copy on ${node} shares no snapshot with the one on ${me}; it must be stashed first.`, { context: { unit, node, common: "" } });
    case "nothing":
    case "up-to-date":
    case "incremental":
    case "from-origin":
    case "full":
      return decision;
  }
}

/** What the copy has to know about its other history, when the error tells of one: the newest snapshot in common ("" = none), and whether it was written to after its own newest. */
function otherHistory(error: unknown): { common: string; modified: boolean } | undefined {
  const code = errorCode(error);
  const context = (error as { context?: { common?: unknown; modified?: unknown } }).context;
  return (code === "DIVERGED" || code === "NO_COMMON_SNAPSHOT") && typeof context?.common === "string" ? { common: context.common, modified: context.modified === true } : undefined;
}

/** The receiver refused because of what it holds. */
function isRefusal(error: unknown): boolean {
  return ["NO_COMMON_SNAPSHOT", "ALREADY_EXISTS", "NOT_FOUND"].includes(errorCode(error) ?? "");
}
