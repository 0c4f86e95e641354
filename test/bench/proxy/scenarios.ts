/** The sides of the comparison. The first is what production runs; ratios are of the others' cost to its cost. */
export const proxyNames = ["hybridcluster", "haproxy", "nginx", "http-proxy"] as const;
export type ProxyName = (typeof proxyNames)[number];
export const own = "hybridcluster" satisfies ProxyName;

/** Goals of ../shared/PROXY.md: for this issue, and in the end. */
export interface Goal { first: number; end: number }

/** As many requests as go through for some seconds; compared by the proxy's CPU for each of them. */
export interface RateScenario {
  name: string;
  what: string;
  path: "/1k" | "/10m";
  connections: number;
  /** The client closes after each answer, so that each request has a connection of its own. */
  close: boolean;
  tls: boolean;
  /** No two requests are alike, as those of many visitors are: nothing that came before helps (daemon/proxy/known-heads.ts). */
  differing?: boolean;
  /** ab makes a full TLS handshake for each request, which is looked at before it is believed (full-handshakes.ts); wrk would resume its sessions. */
  generator: "wrk" | "ab";
  /** Least ratio (the other's CPU per request ÷ ours) by the side compared with. */
  goals: Partial<Record<ProxyName, Goal>>;
}

const plain = { tls: false, close: false, generator: "wrk" } as const;
export const rateScenarios: readonly RateScenario[] = [
  { name: "keep-alive", what: "1 KiB, 64 connections kept alive", path: "/1k", connections: 64, ...plain, goals: { haproxy: { first: 0.8, end: 0.95 }, "http-proxy": { first: 5, end: 6 } } },
  { name: "keep-alive-differing", what: "the same, each request with a field of its own", path: "/1k", connections: 64, ...plain, differing: true, goals: {} },
  { name: "new-connection", what: "1 KiB, a new connection for each request, 64 at a time", path: "/1k", connections: 64, ...plain, close: true, goals: { haproxy: { first: 0.65, end: 0.85 } } },
  { name: "body-10m", what: "10 MiB, 8 connections kept alive", path: "/10m", connections: 8, ...plain, goals: { haproxy: { first: 0.9, end: 1 } } },
  { name: "tls-keep-alive", what: "1 KiB over TLS, 64 connections kept alive", path: "/1k", connections: 64, ...plain, tls: true, goals: { haproxy: { first: 0.65, end: 0.85 } } },
  { name: "tls-handshake", what: "1 KiB, a full TLS handshake for each request, 32 at a time", path: "/1k", connections: 32, close: true, tls: true, generator: "ab", goals: { haproxy: { first: 0.55, end: 0.75 } } },
];

/** KiB of resident memory for each idle connection. */
export interface IdleScenario { name: string; what: string; connections: number; tls: boolean; goal: Goal }
const growth = "RSS growth for each idle keep-alive connection that has had one answer, KiB";
export const idleScenarios: readonly IdleScenario[] = [
  { name: "idle", what: growth, connections: 5_000, tls: false, goal: { first: 5, end: 3 } },
  { name: "tls-idle", what: `${growth}; over TLS`, connections: 3_000, tls: true, goal: { first: 55, end: 30 } },
];

export const hold = {
  name: "hold",
  what: "requests of one site held on open connections, then released, beside another site's requests",
  requests: 5_000,
  /** ms from the release. `dispatchMs`: until the worker has gone through what it held and the first is at the backend (the cap on what runs at once keeps the last from it). */
  goals: { dispatchMs: { first: 10, end: 5 }, lastAnswerMs: { first: 500, end: 250 }, errors: { first: 0, end: 0 }, /** p99 of the other site during the release ÷ its normal p99: at most (issue 5, "must hold" 4). */ otherRatio: { first: 2, end: 2 } },
} as const;

/** Host names that the sides route; one backend answers for all. */
export const hosts = { load: "bench.localhost", held: "held.localhost", other: "other.localhost" } as const;
/** What resolves everywhere, for clients that say in their handshake (SNI) whom they connect to, and not the Host that they ask for: the certificate is good for it too. */
export const tlsHost = "localhost";
