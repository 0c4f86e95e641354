import { delay } from "../lib/abort.js";
import { pauseMs } from "../lib/backoff.js";
import { type EtcdConnection, type EtcdEndpoint, etcdError, TryFailed } from "./etcd-connection.js";
import { fromBase64, prefixEnd, toBase64 } from "./range.js";
import type { Compare, KeyValue, Op, Store, TxnResult, WatchEvent } from "./store.js";

interface RawKv { key?: string; value?: string; mod_revision?: string }
interface RawHeader { revision?: string; cluster_id?: string }
/** Which etcd answered, and how far it is. */
export interface EtcdPoint { etcdCluster: string; revision: string }
interface RawWatch { result?: { header?: RawHeader; canceled?: boolean; compact_revision?: string; events?: { type?: string; kv?: RawKv }[] }; error?: unknown }

/** A member that answered a call about keys so short a time ago is as it was, ms (`EtcdStore.answeredAgoMs`). */
export const freshMs = 2_000;
const CALL_MS = 2000;
const PAGE = 2000;
/** Sessions change each second: a watch of `/hc/` that is silent this long has lost its member. */
const WATCH_IDLE_MS = 5000;

const keyValue = (raw: RawKv): KeyValue => ({ key: fromBase64(raw.key), value: fromBase64(raw.value), modRevision: raw.mod_revision ?? "0" });
const rawOp = (op: Op): object => {
  if ("put" in op) return { request_put: { key: toBase64(op.put), value: toBase64(op.value), ...(op.leaseId === undefined ? {} : { lease: op.leaseId }) } };
  if ("delete" in op) return { request_delete_range: { key: toBase64(op.delete) } };
  return { request_delete_range: { key: toBase64(op.deletePrefix), range_end: prefixEnd(op.deletePrefix).toString("base64") } };
};

/**
 * Store over etcd 3.4's v3 JSON gateway. Reads are linearizable and are tried at each endpoint in turn. A transaction goes to a
 * second endpoint only when the first has surely not run it (no connection, no leader, a learner): after a lost answer it
 * throws NO_QUORUM and the caller looks at what is real (DESIGN invariant 7).
 */
export class EtcdStore implements Store {
  private at = 0;
  private endpointList: readonly EtcdEndpoint[];

  public constructor(private readonly connection: EtcdConnection, endpoints: readonly EtcdEndpoint[]) {
    this.endpointList = endpoints;
  }

  /** Told of each answer about keys; `before`: what it told last before that call was sent. Linearizable: an answer below that comes from an etcd that lost its past. */
  public onAnswer: ((seen: EtcdPoint, before: EtcdPoint | undefined) => void) | undefined;
  private latest: EtcdPoint | undefined;
  /** Member → when the last call about keys that it answered was sent, performance.now(). */
  private readonly answers = new Map<string, number>();

  public setEndpoints(endpoints: readonly EtcdEndpoint[]): void {
    this.endpointList = endpoints;
    this.at = 0;
  }

  /** The first endpoint answers again: what went on to another one comes back. */
  public preferFirst(): void {
    this.at = 0;
  }

  /** ms since the sending of the last call about keys that this member (undefined: any) answered: it is a voting one then, and follows a leader. */
  public answeredAgoMs(node?: string): number {
    const atMs = node === undefined ? Math.max(...this.answers.values()) : (this.answers.get(node) ?? Number.NEGATIVE_INFINITY);
    return performance.now() - atMs;
  }

  public endpoints(): readonly EtcdEndpoint[] {
    return this.endpointList;
  }

  public async get(key: string): Promise<KeyValue | undefined> {
    const answer = await this.read("/v3/kv/range", { key: toBase64(key) });
    const found = (answer["kvs"] as RawKv[] | undefined)?.[0];
    return found === undefined ? undefined : keyValue(found);
  }

  public async list(prefix: string): Promise<{ revision: string; items: KeyValue[] }> {
    const end = prefixEnd(prefix).toString("base64");
    const items: KeyValue[] = [];
    let from = toBase64(prefix);
    let revision = "0";
    for (;;) {
      const answer = await this.read("/v3/kv/range", { key: from, range_end: end, limit: PAGE, ...(revision === "0" ? {} : { revision }) });
      if (revision === "0") revision = (answer["header"] as RawHeader | undefined)?.revision ?? "0";
      const page = (answer["kvs"] as RawKv[] | undefined) ?? [];
      items.push(...page.map(keyValue));
      const last = page.at(-1);
      if (answer["more"] !== true || last === undefined) return { revision, items };
      from = Buffer.concat([Buffer.from(last.key ?? "", "base64"), Buffer.from([0])]).toString("base64");
    }
  }

  public async txn(compare: readonly Compare[], ops: readonly Op[], options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<TxnResult> {
    const body = {
      // mod_revision 0 is how etcd sees a key that does not exist
      compare: compare.map((one) => ({ target: "MOD", result: "EQUAL", key: toBase64(one.key), mod_revision: one.modRevision })),
      success: ops.map(rawOp),
    };
    const answer = await this.call("/v3/kv/txn", body, options.timeoutMs ?? CALL_MS, false, options.signal);
    return { succeeded: answer["succeeded"] === true, revision: (answer["header"] as RawHeader | undefined)?.revision ?? "0" };
  }

  public watch(prefix: string, afterRevision: string, handlers: { onEvents(events: WatchEvent[], revision: string): void; onReset(): void }, signal: AbortSignal): void {
    void this.watchLoop(prefix, afterRevision, handlers, signal);
  }

  private note(header: RawHeader | undefined, before: EtcdPoint | undefined): void {
    if (header?.revision === undefined || header.cluster_id === undefined) return;
    const seen: EtcdPoint = { etcdCluster: header.cluster_id, revision: header.revision };
    if (this.latest === undefined || this.latest.etcdCluster !== seen.etcdCluster || BigInt(seen.revision) > BigInt(this.latest.revision)) this.latest = seen;
    this.onAnswer?.(seen, before);
  }

  private async watchLoop(prefix: string, afterRevision: string, handlers: { onEvents(events: WatchEvent[], revision: string): void; onReset(): void }, signal: AbortSignal): Promise<void> {
    let after = BigInt(afterRevision);
    // A member that accepts a watch but tells nothing (cut off from the others) is left for the next one.
    let turn = this.at;
    for (let attempt = 1; !signal.aborted; attempt += 1, turn += 1) {
      const endpoint = this.endpointList[turn % Math.max(1, this.endpointList.length)];
      let reset = false;
      if (endpoint !== undefined) {
        const body = { create_request: { key: toBase64(prefix), range_end: prefixEnd(prefix).toString("base64"), start_revision: (after + 1n).toString() } };
        const onLine = (line: Record<string, unknown>): void => {
          const { result, error } = line as RawWatch;
          if (error !== undefined || result === undefined) throw new Error("watch refused");
          if (result.compact_revision !== undefined && result.compact_revision !== "0") reset = true;
          if (reset || result.canceled === true) throw new Error("watch cancelled by etcd");
          const events = (result.events ?? []).map((event): WatchEvent => ({ type: event.type === "DELETE" ? "delete" : "put", ...keyValue(event.kv ?? {}) }));
          if (events.length === 0) return;
          const last = events.reduce((most, event) => (BigInt(event.modRevision) > most ? BigInt(event.modRevision) : most), after);
          after = last;
          attempt = 0;
          if (!signal.aborted) handlers.onEvents(events, last.toString());
        };
        await this.connection.stream(endpoint, "/v3/watch", body, WATCH_IDLE_MS, onLine, signal).catch(() => undefined);
      }
      if (signal.aborted) return;
      if (reset) return void handlers.onReset();
      await delay(pauseMs(Math.max(1, attempt), { firstMs: 50, capMs: 1000 }), signal).catch(() => undefined);
    }
  }

  /** Safe to repeat: goes round all endpoints until one answers or the deadline has passed. */
  public read(path: string, body: unknown, timeoutMs = CALL_MS): Promise<Record<string, unknown>> {
    return this.call(path, body, timeoutMs, true);
  }

  /** `repeatable`: may run twice without harm. */
  public async call(path: string, body: unknown, timeoutMs: number, repeatable: boolean, signal?: AbortSignal): Promise<Record<string, unknown>> {
    const end = performance.now() + timeoutMs;
    const list = this.endpointList;
    let last: unknown;
    for (let tries = 0; tries < Math.max(1, list.length) * (repeatable ? 2 : 1); tries += 1) {
      const left = end - performance.now();
      const index = this.at % Math.max(1, list.length);
      const endpoint = list[index];
      if (endpoint === undefined || left <= 0) break;
      // A silent member (cut off, paused) must not use up the whole time of a repeatable call.
      const tryMs = repeatable && list.length > 1 ? Math.min(left, Math.max(400, timeoutMs / 3)) : left;
      try {
        const before = this.latest;
        const sentMs = performance.now();
        const answer = await this.connection.post(endpoint, path, body, tryMs, signal);
        if (path.startsWith("/v3/kv/")) {
          this.answers.set(endpoint.node, sentMs);
          this.note(answer["header"] as RawHeader | undefined, before);
        }
        return answer;
      } catch (error) {
        last = error;
        if (!(error instanceof TryFailed)) throw etcdError(path, error);
        if (this.at % Math.max(1, list.length) === index) this.at = (index + 1) % list.length;
        const unavailable = error.notRun || error.grpcCode === undefined || error.grpcCode === 14 || error.grpcCode === 4;
        if (signal?.aborted || !unavailable || (!error.notRun && !repeatable)) break;
      }
    }
    throw etcdError(`${path} at ${list.map((one) => one.node).join(", ")}`, last ?? new TryFailed("no member is known", true, undefined, false));
  }
}
