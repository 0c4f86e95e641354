import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex, Readable } from "node:stream";
import type { FenceUnit } from "./fencer/parse-fence.js";
import type { Clock } from "./lib/clock.js";
import type { CommandRunner } from "./lib/command.js";
import type { Locks } from "./lib/locks.js";
import type { Logger } from "./lib/log.js";
import type { ClusterConfig, HostConfig } from "./lib/node-config.js";
import type { Platform } from "./platform/platform.js";
import type { Gates } from "./proxy/gates.js";
import type { Sealer } from "./lib/sealed.js";
import type { SiteServices } from "./services/site-services.js";
import type { View } from "./state/cluster-state.js";
import type { Store } from "./state/store.js";
import type { ZfsChanges } from "./zfs/changes.js";
import type { Zfs } from "./zfs/zfs.js";

/** This node's sign of life (OWNERSHIP 1–7). */
export interface Session {
  readonly generation: number;
  /** True while the last committed sign of life is younger than the fence (5.0 s after sending). Check it before each step that writes. */
  isLive(): boolean;
  /** Monotonic ms until which the session is live. */
  deadlineMs(): number;
  /** May this unit, which this session has taken, be written now? While the session is live, and beyond as long as all its copies have promised (daemon/failsafe). */
  owns(unit: string): boolean;
  /** Units whose copies' promises reach beyond the session's deadline, with theirs, monotonic ms. */
  held(): ReadonlyMap<string, number>;
  /** It goes on from that of the process before this one (OWNERSHIP 6). Missing: no. */
  readonly isInherited?: boolean;
  /** ms since the last call was sent that etcd answered, with a commit or a refusal: a quorum is there. */
  silentMs(): number;
}

/** What the fencer is told of the units here (daemon/fencer). */
export interface FenceCover {
  /** Before a unit is mounted writable. Throws when the fencer cannot be told: then it must not be mounted. */
  open(unit: FenceUnit): void;
  /** What was seen mounted or running; `settled`: nothing is being done for this unit, so if it is not among those it may be forgotten. */
  seen(here: readonly FenceUnit[], settled: (unit: string) => boolean): void;
  /** Has the deadline passed that the process before this one has left? What it served is over. Missing: nobody knows. */
  missed?(): boolean;
}

/** Calls to the control port of other nodes, mutual TLS, the certificate's name checked against the node's. */
export interface Peers {
  /** JSON in, JSON out. Throws UNREACHABLE, TIMEOUT, or the peer's own HcError by code. */
  call<T>(node: string, method: "GET" | "PUT" | "POST" | "DELETE", path: string, body: unknown, options: { timeoutMs: number; signal?: AbortSignal }): Promise<T>;
  /** A raw stream body up, JSON down (replication, blobs). */
  upload<T>(node: string, path: string, headers: Record<string, string>, body: Readable, options: { idleTimeoutMs: number; signal?: AbortSignal }): Promise<T>;
  download(node: string, path: string, options: { idleTimeoutMs: number; signal?: AbortSignal }): Promise<Readable>;
}
export interface PeerRequest { from: string; params: Record<string, string>; query: URLSearchParams; headers: IncomingMessage["headers"]; stream: IncomingMessage; json(): Promise<unknown> }
/** Routes of the control port's server and of the API's socket: the handler returns the JSON answer, or writes `response` itself and returns undefined. */
export type RouteHandler = (request: PeerRequest, response: ServerResponse) => Promise<unknown>;
export interface RouteRegistry { route(method: "GET" | "PUT" | "POST" | "DELETE", pattern: string, handler: RouteHandler): void }

/** What every mechanism of the control process is started with. */
export interface NodeContext {
  host: HostConfig;
  cluster: ClusterConfig;
  log: Logger;
  clock: Clock;
  runner: CommandRunner;
  platform: Platform;
  zfs: Zfs;
  /** What is done through `zfs`; without it nobody knows, and everything is looked at more often. */
  changes?: ZfsChanges;
  store: Store;
  view: View;
  session: Session;
  fence: FenceCover;
  /** A unit's key is held by whoever takes its dataset away from its name because the record does not name this node, and by whoever makes the record name it (`hc adopt-pool`): never both at once. */
  unitLocks: Locks;
  services: SiteServices;
  peers: Peers;
  /** Control port, `/peer/v1/...`. */
  peerRoutes: RouteRegistry;
  /** Unix socket, `/v1/...`. */
  apiRoutes: RouteRegistry;
  /** Holds of units at this node's proxy workers. */
  gates: Gates;
  /** Opens and seals secrets that lie in etcd; undefined: this node was handed no key yet. */
  sealer?: Sealer | undefined;
  event(unit: string, event: string, detail: string): void;
  signal: AbortSignal;
}
/** Each mechanism is `startX(context): Promise<Running>`. */
export interface Running { stop(): Promise<void> }
export type { Duplex };
