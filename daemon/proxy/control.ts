import { chmod, chown, mkdir, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import type { NodeContext, Running } from "../context.js";
import { writeFileAtomic } from "../lib/atomic-file.js";
import { machineMs, sleepUntilTick } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import { Together } from "../lib/together.js";
import { readAccessLog } from "./access-log-tail.js";
import { CertificateFeed } from "./certificate-feed.js";
import { onLines, type ToControl, type ToWorker } from "./channel.js";
import { holdLeaseMs } from "./gates.js";
import { buildRoutes, type RouteTable, sameRoutes } from "./routes.js";
import { accessLogFolder, proxyService, spoolFolder, workerNames } from "./service.js";
import { beatMs } from "./worker-watch.js";
import { type Report, Workers } from "./workers.js";
import type { WaitSecond } from "./waits.js";
import { secondsBounds, type UnitStats } from "./worker-state.js";

export interface ProxyControl extends Running {
  /** Requests in flight and held, status classes and last errors of a unit, all workers together. */
  unit(unit: string): { inFlight: number; requests: number; held: number; errors: { atMs: number; text: string }[]; /** Of each worker that tells. */ waits: WaitSecond[]; /** When the oldest of the workers' reports came, UTC ms; 0: one of them has not reported. */ reportedAtMs: number };
  metrics(): { name: string; labels: Record<string, string>; value: number }[];
}

/** The control process' side: makes the table from the picture, pushes it and the fence's deadline to the workers, keeps their service running. */
export async function startProxyControl(context: NodeContext, user: { uid: number; gid: number }): Promise<ProxyControl> {
  const { host, paths } = { host: context.host, paths: context.host.paths };
  const socketPath = `${paths.run}/proxy.sock`;
  const sockets = new Set<Socket>();
  let table: RouteTable | undefined;
  const before = context.session.isInherited === true ? await readTable(`${paths.run}/routes.json`, context.session.generation) : undefined;
  const names = workerNames();
  const workers = new Workers(context, names.map((name) => proxyService(host, name)), (socket) => send(socket, { type: "leave" }));
  const send = (socket: Socket, message: ToWorker): void => {
    // a worker that does not read is of no use: its table would grow old
    if (socket.writableLength > 64 * 1024 * 1024) socket.destroy();
    else socket.write(`${JSON.stringify(message)}\n`);
  };
  const certificates = new CertificateFeed(context, send);
  const deadline = (): ToWorker => {
    const now = machineMs();
    const offset = now - context.clock.monotonicMs();
    const holds = context.gates.held();
    const held = context.session.held();
    const units = Object.fromEntries([...held].map(([unit, untilMs]) => [unit, Math.floor(untilMs + offset)]));
    // a new session's time is never told upon the table of the one before; a deadline at a worker only ever moves on, so 0 says nothing
    const isOfTable = table?.generation === context.session.generation;
    return { type: "deadline", ms: isOfTable ? Math.floor(context.session.deadlineMs() + offset) : 0, ...(held.size === 0 || !isOfTable ? {} : { units }), ...(context.gates.isAdopted ? {} : { keepHolds: true }), ...(holds.length === 0 ? {} : { holds: Object.fromEntries(holds.map((unit) => [unit, Math.floor(now + holdLeaseMs)])), round: context.gates.lastRound, draining: context.gates.draining() }) };
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    context.gates.joined(socket);
    socket.on("error", () => undefined); // close follows
    socket.once("close", () => {
      sockets.delete(socket);
      workers.left(socket);
      context.gates.left(socket);
    });
    onLines(socket, (message) => {
      const said = message as ToControl;
      workers.heard(socket, said);
      if (said.type === "holding") context.gates.said(socket, said.inFlight, said.round);
      else if (said.type === "own-call") send(socket, { type: "own-call", id: said.id, passes: context.gates.passes(socket, said.unit, said.inFlight, said.round) });
    });
    certificates.joined(socket); // first: a redirect to HTTPS needs them
    if (table !== undefined) send(socket, { type: "routes", table });
    send(socket, deadline());
  });
  await unlink(socketPath).catch(() => undefined);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  await chown(socketPath, user.uid, user.gid);
  await chmod(socketPath, 0o600);
  /** One write at a time, always of the newest table: many changes at once are one or two writes, and no older one comes last. */
  const saves = new Together<undefined, undefined>(async (calls) => {
    await writeFileAtomic(`${paths.run}/routes.json`, JSON.stringify(table), { mode: 0o600 }).catch((error: unknown) => context.log.warn({ err: error }, "the route table could not be written"));
    return calls;
  });
  let saved: Promise<undefined> | undefined;
  let madeFrom: readonly unknown[] = [];
  const refresh = (): void => {
    certificates.refresh([...sockets]);
    const state = context.view.current();
    // maps are replaced when they change (state/apply.ts): what other nodes tell of themselves makes no other table
    const { serving } = context.gates;
    const { generation } = context.session;
    const from = [state.units, state.desired, state.customers, state.nodes, generation, serving];
    if (from.every((part, at) => part === madeFrom[at])) return;
    const next = buildRoutes(state, host.node, generation, host.ports.apache, host.ports.https, { serving, before: before?.node === host.node && before.generation === generation ? before : undefined });
    madeFrom = from;
    if (sameRoutes(table, next)) return;
    table = next;
    for (const socket of sockets) send(socket, { type: "routes", table });
    saved = saves.call(undefined);
  };
  refresh();
  const unwatch = context.view.onChange(refresh);
  let failed = "";
  const tryRefresh = (): void => {
    try {
      refresh();
      failed = "";
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== failed) context.log.error({ reason }, "no route table could be made");
      failed = reason;
    }
  };
  /** What all workers were told last; undefined: something that has to be told again with each beat. */
  let told: string | undefined;
  const tell = (): void => {
    const message = deadline();
    for (const socket of sockets) send(socket, message);
  };
  const sendDeadline = (): void => {
    tryRefresh();
    told = undefined;
    tell();
  };
  /** With nothing held and nothing promised there is the session's deadline alone: it moves with each sign of life, and is told once. */
  const beatDeadline = (): void => {
    tryRefresh();
    const { gates, session } = context;
    const plain = gates.isAdopted && gates.held().length === 0 && session.held().size === 0 ? `${session.generation} ${table?.generation} ${session.deadlineMs()}` : undefined;
    if (plain !== undefined && plain === told) return;
    told = plain;
    tell();
  };
  /** Many units that stop at once are one table. */
  let due: Promise<void> | undefined;
  context.gates.attach(sendDeadline, names.length, () => {
    due ??= Promise.resolve().then(async () => {
      due = undefined;
      tryRefresh();
      await saved;
    });
    return due;
  });
  const beating = new AbortController();
  const beats = (async () => {
    while (!beating.signal.aborted) {
      await sleepUntilTick(context.clock, beatMs, beating.signal);
      if (beating.signal.aborted) return;
      beatDeadline();
      workers.beat();
    }
  })();
  const close = async (): Promise<void> => {
    unwatch();
    beating.abort();
    await beats;
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  try {
    for (const folder of [spoolFolder(host), accessLogFolder(host)]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chown(folder, user.uid, user.gid);
    }
    // the workers must be able to reach theirs
    const { mode } = await stat(paths.log);
    if ((mode & 0o001) === 0) await chmod(paths.log, (mode & 0o7777) | 0o111);
    // what waits at a listener that closes goes to another worker's (Linux 5.14; ip-sysctl: tcp_migrate_req)
    if (host.platform === "linux") await writeFile("/proc/sys/net/ipv4/tcp_migrate_req", "1").catch((error: unknown) => context.log.warn({ err: error }, "connections that wait at a worker that leaves are lost"));
    await workers.start();
  } catch (error) {
    await close(); // it is tried again, with a line of its own
    throw error;
  }
  const reports = (): Report[] => [...workers.reports.values()];
  const viewOf: ProxyControl["unit"] = (unit) => {
    const seen = reports();
    const stats = seen.map((report) => report.units[unit]).filter((item): item is UnitStats => item !== undefined);
    const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);
    return {
      inFlight: sum(seen.map((report) => report.inFlight[unit] ?? 0)),
      requests: sum(stats.map((item) => item.requests)),
      held: sum(stats.map((item) => item.held)),
      errors: stats.flatMap((item) => item.errors).sort((a, b) => a.atMs - b.atMs).slice(-20),
      waits: stats.flatMap((item) => item.waits ?? []),
      reportedAtMs: workers.reportedAtMs(),
    };
  };
  context.peerRoutes.route("GET", "/peer/v1/acme-challenges/:token", async ({ params }) => ({ known: certificates.answers(params["token"] as string) }));
  context.peerRoutes.route("GET", "/peer/v1/access-log/:unit", async ({ params, query }) => ({ lines: await readAccessLog(accessLogFolder(host), params["unit"] as string, Math.min(2000, Number(query.get("lines")) || 100)) }));
  context.peerRoutes.route("GET", "/peer/v1/proxy/:unit", async ({ params }) => viewOf(params["unit"] as string));
  return {
    unit: viewOf,
    metrics: () => [{ name: "hc_proxy_restarts_total", labels: {}, value: workers.restarts }, ...reports().flatMap((report) => [
      { name: "hc_proxy_connections", labels: {}, value: report.connections },
      { name: "hc_proxy_held", labels: {}, value: report.held },
      { name: "hc_proxy_header_refused_total", labels: {}, value: report.refusedHeaders ?? 0 },
      { name: "hc_access_log_lines_total", labels: {}, value: report.accessLog?.written ?? 0 },
      { name: "hc_access_log_dropped_total", labels: {}, value: report.accessLog?.dropped ?? 0 },
      ...Object.entries(report.inFlight).map(([unit, value]) => ({ name: "hc_proxy_in_flight", labels: { unit }, value })),
      ...Object.entries(report.units).map(([unit, stats]) => ({ name: "hc_proxy_held_total", labels: { unit }, value: stats.held })),
      ...Object.entries(report.units).flatMap(([unit, stats]) => servedMetrics(unit, stats.served)),
      ...Object.entries(report.units).flatMap(([unit, stats]) => Object.entries(stats.status).map(([code, value]) => ({ name: "hc_proxy_requests_total", labels: { unit, code }, value }))),
    ])],
    stop: async () => {
      await close();
      await workers.stop();
      // the workers go on with their last table: a restart of the control process is no outage
    },
  };
}

/** What the control process before this one has told its workers last; undefined: there is nothing to go on with. `inherited`: the generation that one of the versions before has not written down. */
async function readTable(path: string, inherited: number): Promise<RouteTable | undefined> {
  try {
    const table = JSON.parse(await readFile(path, "utf8")) as RouteTable;
    return table.version === 1 ? { ...table, generation: table.generation ?? inherited } : undefined;
  } catch {
    return undefined;
  }
}

/** A histogram as Prometheus wants it: each class counts all that were as quick (https://prometheus.io/docs/concepts/metric_types/#histogram). */
export function servedMetrics(unit: string, served: UnitStats["served"]): ReturnType<ProxyControl["metrics"]> {
  let count = 0;
  const classes = served.classes.map((value, at) => {
    count += value;
    return { name: "hc_proxy_served_seconds_bucket", labels: { unit, le: at < secondsBounds.length ? String(secondsBounds[at]) : "+Inf" }, value: count };
  });
  return [...classes, { name: "hc_proxy_served_seconds_sum", labels: { unit }, value: served.seconds }, { name: "hc_proxy_served_seconds_count", labels: { unit }, value: count }, { name: "hc_proxy_sent_bytes_total", labels: { unit }, value: served.bytes }];
}
