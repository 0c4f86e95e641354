import { fixedSession } from "./fixed-session.js";
import type { ServerResponse } from "node:http";
import { PassThrough, type Readable, Transform } from "node:stream";
import pino from "pino";
import type { NodeContext, Peers, PeerRequest, RouteHandler, RouteRegistry } from "../../daemon/context.js";
import type { Clock } from "../../daemon/lib/clock.js";
import { Locks } from "../../daemon/lib/locks.js";
import { HcError } from "../../daemon/lib/errors.js";
import { keys, type ObservedNode, type SessionRecord, type TemplateRecord, type UnitRecord } from "../../daemon/lib/records.js";
import type { Replication } from "../../daemon/replication/replication.js";
import { type ReplicationOptions, startReplication } from "../../daemon/replication/start.js";
import type { ClusterState, Versioned } from "../../daemon/state/cluster-state.js";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import type { Zfs } from "../../daemon/zfs/zfs.js";

/** What may go wrong with one stream between two nodes. */
export interface StreamFault {
  /** The connection breaks after so many bytes. */
  cutAtByte?: number;
  /** A byte is changed on the way. */
  flipByte?: number;
  /** The answer of the receiver is lost, after it has done its work. */
  loseAnswer?: boolean;
}
interface Node { name: string; zfs: Zfs; up: boolean; live: boolean; stop: AbortController; routes: Map<string, RouteHandler>; replication: Replication | undefined; /** Unit → epoch under which its gate is open. */ serving: Map<string, number>; sent: { to: string; path: string; bytes: number }[] }

/** Several nodes' replication in one process: shared records, streams handed over in memory through the real framing. */
export class ReplicationCluster {
  public readonly nodes = new Map<string, Node>();
  public readonly units = new Map<string, Versioned<UnitRecord>>();
  public readonly templates = new Map<string, Versioned<TemplateRecord>>();
  public readonly observedNodes = new Map<string, ObservedNode>();
  public readonly sessions = new Map<string, Versioned<SessionRecord>>();
  public readonly events: { unit: string; event: string; detail: string }[] = [];
  /** Pairs "a>b" that cannot talk. */
  public readonly cuts = new Set<string>();
  public fault: ((from: string, to: string, path: string) => StreamFault | undefined) | undefined;
  /** Replaces the in-memory transport, e.g. by real mutual TLS. */
  public peersOf: ((name: string) => Peers) | undefined;
  public registryOf: ((name: string) => RouteRegistry) | undefined;
  private revision = 1;
  /** Grows as nodes are added; every node's context has this one list. */
  private readonly members: NodeContext["cluster"]["members"] = [];

  public constructor(
    public readonly root: string,
    private readonly clock: Clock,
    private readonly options: ReplicationOptions = {},
  ) {}

  public addNode(name: string, zfs: Zfs): void {
    this.members.push({ node: name } as NodeContext["cluster"]["members"][number]);
    this.nodes.set(name, { name, zfs, up: false, live: true, stop: new AbortController(), routes: new Map(), replication: undefined, serving: new Map(), sent: [] });
  }
  public async start(name: string, options: ReplicationOptions = {}): Promise<Replication> {
    const node = this.node(name);
    node.up = true;
    node.stop = new AbortController();
    node.routes.clear();
    node.replication = await startReplication(this.context(name), { ...this.options, ...options });
    return node.replication;
  }
  /** The control process ends; what it remembers is lost. */
  public async stop(name: string): Promise<void> {
    const node = this.node(name);
    node.up = false;
    node.stop.abort();
    await node.replication?.stop();
    node.replication = undefined;
  }
  public async stopAll(): Promise<void> {
    for (const name of this.nodes.keys()) await this.stop(name);
  }
  public node(name: string): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }
  public replication(name: string): Replication {
    const replication = this.node(name).replication;
    if (replication === undefined) throw new Error(`${name} is stopped`);
    return replication;
  }
  public putUnit(record: Partial<UnitRecord> & Pick<UnitRecord, "unit" | "home" | "replicas">): void {
    this.revision += 1;
    const value: UnitRecord = { version: 1, kind: "site", name: record.unit.replace("site-", ""), homeGeneration: 1, epoch: 1, epochStartGuid: "", state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "", version: "", guid: "" }, ...this.units.get(record.unit)?.value, ...record };
    this.units.set(record.unit, { value, revision: String(this.revision) });
  }
  public putTemplate(name: string, version: string, guid: string, builder: string): void {
    this.templates.set(`${name}/${version}`, { revision: "1", value: { version: 1, name, templateVersion: version, builder, state: "ready", guid, error: "", runtime: { platform: "linux", php: "8.2" } } });
  }

  private state(): ClusterState {
    const empty = new Map();
    return { revision: String(this.revision), desired: empty, units: this.units, sessions: this.sessions, nodes: empty, observedNodes: this.observedNodes, observedUnits: empty, customers: empty, templates: this.templates, trash: empty, leader: undefined };
  }
  public context(name: string): NodeContext {
    const node = this.node(name);
    const names = this.members;
    const context: Partial<NodeContext> = {
      host: { node: name, paths: { data: "/hc" } } as NodeContext["host"],
      cluster: { dataset: this.root, members: names } as NodeContext["cluster"],
      log: pino({ level: process.env["HC_LOG_LEVEL"] ?? "silent" }),
      clock: this.clock,
      zfs: noticed(asNow(node.zfs), new ZfsChanges(), () => this.clock.monotonicMs()),
      view: { current: () => this.state(), onChange: () => () => undefined },
      store: { get: async (key: string) => { const found = [...this.units.values()].find(({ value }) => keys.unit(value.unit) === key); return found === undefined ? undefined : { key, value: JSON.stringify(found.value), modRevision: found.revision }; } } as unknown as NodeContext["store"],
      session: fixedSession(1, () => node.live),
      peers: this.peersOf?.(name) ?? this.peers(name),
      unitLocks: new Locks(),
      gates: { serving: node.serving } as unknown as NodeContext["gates"],
      peerRoutes: this.registryOf?.(name) ?? { route: (method, pattern, handler) => void node.routes.set(`${method} ${pattern}`, handler) },
      apiRoutes: { route: () => undefined },
      event: (unit, event, detail) => void this.events.push({ unit, event, detail }),
      signal: node.stop.signal,
    };
    return context as NodeContext;
  }

  private find(from: string, to: string, method: string, path: string): { handler: RouteHandler; params: Record<string, string>; query: URLSearchParams } {
    const node = this.node(to);
    if (!node.up || this.cuts.has(`${from}>${to}`) || this.cuts.has(`${to}>${from}`)) throw new HcError("UNREACHABLE", `${to} cannot be reached.`);
    const url = new URL(path, "http://peer");
    for (const [key, handler] of node.routes) {
      const [itsMethod, pattern = ""] = key.split(" ");
      const expression = new RegExp(`^${pattern.replace(/:([a-z]+)/g, "(?<$1>[^/]+)")}$`);
      const match = expression.exec(url.pathname);
      if (itsMethod === method && match !== null) return { handler, params: { ...match.groups }, query: url.searchParams };
    }
    throw new HcError("NOT_FOUND", `${to} knows no ${method} ${path}.`);
  }

  private peers(from: string): Peers {
    const request = (found: { params: Record<string, string>; query: URLSearchParams }, stream: Readable, body?: unknown): PeerRequest => ({ from, params: found.params, query: found.query, headers: {}, stream: stream as PeerRequest["stream"], json: async () => body });
    return {
      call: async <T>(to: string, method: string, path: string, body: unknown): Promise<T> => {
        const found = this.find(from, to, method, path);
        const answer = await found.handler(request(found, new PassThrough().end(), body), {} as ServerResponse);
        this.find(from, to, method, path); // lost when the way broke meanwhile
        return JSON.parse(JSON.stringify(answer)) as T;
      },
      upload: async <T>(to: string, path: string, _headers: Record<string, string>, body: Readable, options: { signal?: AbortSignal }): Promise<T> => {
        body.on("error", () => undefined);
        const found = this.find(from, to, "PUT", path);
        const fault = this.fault?.(from, to, path);
        const record = { to, path, bytes: 0 };
        this.node(from).sent.push(record);
        const wire = faulty(body, fault, record, options.signal);
        try {
          const answer = await found.handler(request(found, wire), {} as ServerResponse);
          if (fault?.loseAnswer === true) throw new HcError("UNREACHABLE", `${to}: the connection broke before the answer came.`);
          this.find(from, to, "PUT", path);
          return JSON.parse(JSON.stringify(answer)) as T;
        } finally {
          body.destroy();
          wire.destroy();
        }
      },
      download: async (to: string, path: string): Promise<Readable> => {
        const found = this.find(from, to, "GET", path);
        const fault = this.fault?.(from, to, path);
        const response = new PassThrough() as unknown as PassThrough & { writeHead(): void };
        return await new Promise((resolve, reject) => {
          response.writeHead = () => resolve(faulty(response, fault, { bytes: 0 }, undefined));
          found.handler(request(found, new PassThrough().end()), response as unknown as ServerResponse).catch((error: Error) => {
            reject(error);
            response.destroy(error);
          });
        });
      },
    };
  }
}

function faulty(source: Readable, fault: StreamFault | undefined, record: { bytes: number }, signal: AbortSignal | undefined): Readable {
  const wire = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      const begin = record.bytes;
      record.bytes += chunk.length;
      if (fault?.cutAtByte !== undefined && record.bytes > fault.cutAtByte) return callback(new HcError("UNREACHABLE", "The connection broke."));
      if (fault?.flipByte !== undefined && fault.flipByte >= begin && fault.flipByte < record.bytes) {
        const copy = Buffer.from(chunk);
        copy[fault.flipByte - begin] = (copy[fault.flipByte - begin] ?? 0) ^ 0x55;
        return callback(null, copy);
      }
      callback(null, chunk);
    },
  });
  wire.on("error", () => source.destroy());
  source.on("error", (error) => wire.destroy(error));
  source.on("close", () => void (source.readableEnded || wire.destroy(new HcError("UNREACHABLE", "The sender went away."))));
  signal?.addEventListener("abort", () => wire.destroy(new HcError("ABORTED", "cancelled")), { once: true });
  source.pipe(wire);
  return wire;
}

/** Its methods as they are at each call: a test may replace one while the node runs. */
function asNow(zfs: Zfs): Zfs {
  const methods = zfs as unknown as Record<string, (...args: unknown[]) => unknown>;
  return Object.fromEntries(Object.keys(zfs).map((name) => [name, (...args: unknown[]) => methods[name]?.(...args)])) as unknown as Zfs;
}
