import type { NodeContext } from "../context.js";
import { errorCode, HcError } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";
import { type FramedCounts, frame } from "./frames.js";
import { advanceHold, holdTag } from "./holds.js";
import type { InUse } from "./in-use.js";
import type { LagBook } from "./lag.js";
import { type Decision, decide, type Origin } from "./logic.js";
import type { Counters } from "./metrics.js";
import type { RateLimit } from "./rate-limit.js";
import { readAck, readUnitSnapshots, type StreamHead, wireVersion } from "./wire.js";

export type SenderContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "view" | "session" | "peers" | "clock" | "log">;
/** A stream with no byte for so long is given up, ms. */
const idleTimeoutMs = 20_000;
type Streamed = Extract<Decision, { kind: "incremental" | "from-origin" | "full" }>;

export interface Sent { guid: string; snapshot: string; bytes: number; kind: Decision["kind"] }

/**
 * The home's side of one attempt: look, decide, send one stream, check the answer, move the holds. The target is held before the stream begins and the base until
 * the answer is in: whichever of the two the replica has in the end, it is still here (an answer may be lost after the receive).
 */
export class Sender {
  /** "unit\0node" → target of an attempt that failed after its stream began: held, and perhaps received. At most one a pair. */
  private readonly doubtful = new Map<string, string>();
  public constructor(
    private readonly context: SenderContext,
    private readonly parts: { lag: LagBook; counters: Counters; rate: RateLimit; inUse: InUse },
  ) {}

  /** The record of a unit that is at home here, with a live session. Throws NOT_HOME. */
  public ownRecord(unit: string): UnitRecord {
    const record = this.context.view.current().units.get(unit)?.value;
    if (record === undefined || record.home !== this.context.host.node) throw new HcError("NOT_HOME", `${unit} is not at home on ${this.context.host.node}.`);
    if (!this.context.session.isLive()) throw new HcError("NOT_HOME", `${unit}: this node's session is not live.`);
    return record;
  }

  /** Brings `node` to the newest snapshot that exists now. */
  public async send(unit: string, node: string, signal: AbortSignal): Promise<Sent> {
    const record = this.ownRecord(unit);
    const dataset = `${this.context.cluster.dataset}/${unit}`;
    const confirmed = this.parts.lag.confirmedGuid(unit, node);
    if (confirmed !== "" && !this.doubtful.has(`${unit}\0${node}`)) {
      const local = await this.context.zfs.snapshots(dataset);
      const base = local.find((snapshot) => snapshot.guid === confirmed);
      const target = local.at(-1);
      if (base !== undefined && target !== undefined && base !== target)
        try {
          return await this.carry(record, node, dataset, { kind: "incremental", base, target }, signal);
        } catch (error) {
          if (!isRefusal(error)) throw error; // else: the replica is not what we remember; look, below
        }
    }
    const origin = await this.originOf(record, dataset);
    const query = origin === undefined ? "" : `?${new URLSearchParams({ template: record.origin.template, version: record.origin.version, guid: origin.guid }).toString()}`;
    const answer = await this.context.peers.call(node, "GET", `/peer/v1/units/${unit}/snapshots${query}`, undefined, { timeoutMs: 15_000, signal });
    const remote = readUnitSnapshots(answer, node);
    return await this.carry(record, node, dataset, decide(await this.context.zfs.snapshots(dataset), remote, origin), signal);
  }

  /** The template's snapshot, if the dataset still is a clone of it. */
  private async originOf(record: UnitRecord, dataset: string): Promise<Origin | undefined> {
    if (record.origin.guid === "") return undefined;
    const template = `${this.context.cluster.dataset}/tmpl-${record.origin.template}`;
    const own = (await this.context.zfs.datasets(dataset)).find((item) => item.name === dataset);
    if (own?.origin !== `${template}@${record.origin.version}`) return undefined;
    const snapshot = (await this.context.zfs.snapshots(template)).find((item) => item.guid === record.origin.guid);
    return snapshot === undefined ? undefined : { snapshot: own.origin, guid: snapshot.guid };
  }

  private async carry(record: UnitRecord, node: string, dataset: string, decision: Decision, signal: AbortSignal): Promise<Sent> {
    const { unit } = record;
    const me = this.context.host.node;
    switch (decision.kind) {
      case "nothing":
        throw new HcError("NOT_READY", `${unit} has no snapshot yet.`);
      case "needs-origin":
        throw new HcError("NOT_READY", `${node} has not received the template ${record.origin.template}@${record.origin.version} yet.`);
      case "diverged":
        throw new HcError("DIVERGED", `${unit}: ${node} holds ${decision.remoteOnly.length} snapshots after ${decision.common.name} that ${me} does not have (${decision.remoteOnly.slice(0, 3).join(", ")}); its history must be stashed first.`, { context: { unit, node, common: decision.common.guid } });
      case "no-common":
        throw new HcError("NO_COMMON_SNAPSHOT", `${unit}: the copy on ${node} shares no snapshot with the one on ${me}; it must be stashed first.`, { context: { unit, node } });
      case "up-to-date":
        await advanceHold(this.context.zfs, dataset, decision.target.name, node);
        return this.confirm(unit, node, { guid: decision.target.guid, snapshot: decision.target.name, bytes: 0, kind: decision.kind });
      case "incremental":
      case "from-origin":
      case "full":
        return await this.stream(record, node, dataset, decision, signal);
    }
  }

  private async stream(record: UnitRecord, node: string, dataset: string, decision: Streamed, signal: AbortSignal): Promise<Sent> {
    const { unit } = record;
    const { target, kind } = decision;
    const pair = `${unit}\0${node}`;
    const base = kind === "full" ? undefined : kind === "incremental" ? `${dataset}@${decision.base.name}` : decision.origin.snapshot;
    const baseGuid = kind === "full" ? "" : kind === "incremental" ? decision.base.guid : decision.origin.guid;
    const endUse = this.parts.inUse.use([`${dataset}@${target.name}`, ...(base === undefined ? [] : [base])]);
    const counts: FramedCounts = { payloadBytes: 0 };
    const abort = new AbortController();
    const ended = AbortSignal.any([signal, abort.signal]);
    try {
      const old = this.doubtful.get(pair);
      await this.context.zfs.hold(holdTag(node), `${dataset}@${target.name}`);
      if (old !== undefined && old !== target.name && base !== `${dataset}@${old}`) await this.context.zfs.release(holdTag(node), `${dataset}@${old}`);
      this.doubtful.set(pair, target.name);
      const own = (await this.context.zfs.datasets(dataset)).find((item) => item.name === dataset);
      const properties = { ...own?.user, unit, epoch: String(record.epoch), home: record.home };
      const head: StreamHead = { version: wireVersion, unit, epoch: record.epoch, snapshot: target.name, guid: target.guid, baseGuid, clone: kind === "from-origin", properties };
      const { stream, done } = this.context.zfs.send(`${dataset}@${target.name}`, base, ended);
      done.catch(() => undefined); // its error also ends the stream
      const body = frame(head, this.parts.rate.through(stream, ended), counts);
      const answer = await this.context.peers.upload(node, `/peer/v1/streams/${unit}`, { "content-type": "application/x-hybridcluster-stream" }, body, { idleTimeoutMs, signal: ended });
      const ack = readAck(answer, node);
      await done;
      if (ack.guid !== target.guid) throw new HcError("INTERNAL", `${node} acknowledged guid ${ack.guid} for ${unit}@${target.name}, not ${target.guid}.`);
      if (kind === "incremental" && old === undefined) await this.context.zfs.release(holdTag(node), `${dataset}@${decision.base.name}`);
      else await advanceHold(this.context.zfs, dataset, target.name, node);
      return this.confirm(unit, node, { guid: target.guid, snapshot: target.name, bytes: counts.payloadBytes, kind });
    } finally {
      abort.abort(); // ends a send whose reader is gone
      endUse();
      this.parts.counters.add("hc_replication_sent_bytes_total", { peer: node }, counts.payloadBytes);
      this.parts.counters.add("hc_replication_streams_total", { peer: node, kind });
    }
  }

  private confirm(unit: string, node: string, sent: Sent): Sent {
    this.doubtful.delete(`${unit}\0${node}`);
    this.parts.lag.confirmed(unit, node, sent, this.context.clock.wallMs());
    this.context.log.debug({ unit, peer: node, snapshot: sent.snapshot, kind: sent.kind, bytes: sent.bytes }, "replica confirmed");
    return sent;
  }
}

/** The receiver refused because of what it holds. */
function isRefusal(error: unknown): boolean {
  return ["NO_COMMON_SNAPSHOT", "ALREADY_EXISTS", "NOT_FOUND"].includes(errorCode(error) ?? "");
}
