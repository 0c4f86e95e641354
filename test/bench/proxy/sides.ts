import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ticketBytes } from "../../../daemon/certificates/ticket-keys.js";
import type { RouteTable } from "../../../daemon/proxy/routes.js";
import type { WorkerOptions } from "../../../daemon/proxy/worker.js";
import * as configs from "./configs.js";
import type { BenchCertificate, FromStandIn, ToStandIn } from "./control-stand-in.js";
import { freePorts, type Processes, type Started, untilAnswers } from "./processes.js";
import { hosts, type ProxyName, tlsHost } from "./scenarios.js";

export interface Place { dir: string; cores: { proxy: number; load: string }; processes: Processes; backendPort: number; tls: boolean; /** Between nodes. */ pki: { ca: string; cert: string; key: string }; /** The site's. */ site: configs.PemFiles }
/** A proxy that answers. `tlsPort`: where it has TLS for clients. */
export interface Side { pid: number; port: number; tlsPort?: number; stop(): Promise<void> }
export interface OwnSide extends Side { tell(order: ToStandIn): void; onReport(take: (report: FromStandIn) => void): void }

/** Each start has a socket of its own: nobody takes the one before away. */
let starts = 0;
const unitOf = (host: string): string => `site-${host.split(".")[0]}`;
export const heldUnit = unitOf(hosts.held);

async function ready(place: Place, name: ProxyName, argv: readonly string[], ports: { http: number; tls?: number }): Promise<Side> {
  const started = place.processes.start(name, argv, { core: place.cores.proxy });
  await untilAnswers(started, ports.http, hosts.load).catch((error: unknown) => {
    throw new Error(`${name} does not serve (${(error as Error).message}):\n${place.processes.log(name)}`);
  });
  return { pid: started.pid, port: ports.http, ...(ports.tls === undefined ? {} : { tlsPort: ports.tls }), stop: () => started.stop() };
}

/** The artefact's worker, as the node's service runs it, at the home of its sites; a stand-in for the control process beside it. */
export async function startOwn(place: Place): Promise<OwnSide> {
  const [http = 0, peer = 0, https = 0] = await freePorts(3);
  const channel = join(place.dir, `proxy-${starts}.sock`);
  starts += 1;
  const units = Object.fromEntries(Object.values(hosts).map((host) => [unitOf(host), { home: "n1", epoch: 1, open: true }]));
  const table: RouteTable = { version: 1, revision: "1", node: "n1", hosts: Object.fromEntries(Object.values(hosts).map((host) => [host, unitOf(host)])), units, nodes: { n1: { addresses: ["127.0.0.1"], port: peer } }, apachePort: place.backendPort, ...(place.tls ? { httpsPort: https } : {}) };
  const options: WorkerOptions = { httpPort: http, ...(place.tls ? { httpsPort: https } : {}), peerPort: peer, channel, pki: place.pki, hosts: { http: "127.0.0.1", peer: "127.0.0.1" } };
  const certificate: BenchCertificate = { chain: place.site.cert, key: place.site.key, names: [tlsHost, ...Object.values(hosts)], tickets: randomBytes(ticketBytes).toString("base64") };
  const control: Started = place.processes.start("control", [process.execPath, join(__dirname, "control-stand-in.js"), channel, JSON.stringify(table), ...(place.tls ? [JSON.stringify(certificate)] : [])], { core: place.cores.load, lines: true });
  const listeners: ((message: FromStandIn) => void)[] = [];
  control.onMessage((message: FromStandIn) => {
    for (const listener of listeners) listener(message);
  });
  const artefact = join(__dirname, "..", "..", "..", "hcd", "hcd.cjs");
  const side = await ready(place, "hybridcluster", [process.execPath, artefact, "worker", JSON.stringify(options)], { http, ...(place.tls ? { tls: https } : {}) });
  return {
    ...side,
    tell: (order) => control.say(order),
    onReport: (take) => void listeners.push(take),
    stop: async () => {
      await side.stop();
      await control.stop();
    },
  };
}

async function ports(place: Place): Promise<configs.Ports> {
  const [http = 0, tls = 0] = await freePorts(2);
  return { http, backend: place.backendPort, ...(place.tls ? { tls } : {}) };
}
function config(place: Place, name: string, text: string): string {
  const file = join(place.dir, `${name}.conf`);
  writeFileSync(file, text);
  return file;
}
const nginxArgv = (place: Place, file: string): string[] => ["nginx", "-p", place.dir, "-e", "stderr", "-c", file];

export const start: Record<ProxyName, (place: Place) => Promise<Side>> = {
  hybridcluster: startOwn,
  haproxy: async (place) => {
    const at = await ports(place);
    return ready(place, "haproxy", ["haproxy", "-db", "-f", config(place, "haproxy", configs.haproxy(at, place.site))], at);
  },
  nginx: async (place) => {
    const at = await ports(place);
    return ready(place, "nginx", nginxArgv(place, config(place, "nginx", configs.nginx(place.dir, at, place.site))), at);
  },
  "http-proxy": async (place) => {
    const at = await ports(place);
    return ready(place, "http-proxy", [process.execPath, join(__dirname, "http-proxy-peer.js"), String(at.http), String(at.backend)], { http: at.http });
  },
};

/** The backend of all sides, on the cores of the load. */
export async function startBackend(place: Omit<Place, "backendPort">): Promise<number> {
  const [port = 0] = await freePorts(1);
  const whole = { ...place, backendPort: port };
  const started = place.processes.start("backend", nginxArgv(whole, config(whole, "backend", configs.backend(place.dir, port))), { core: place.cores.load });
  await untilAnswers(started, port, hosts.load).catch((error: unknown) => {
    throw new Error(`the backend does not serve (${(error as Error).message}):\n${place.processes.log("backend")}`);
  });
  return port;
}

/** Debian's programs say theirs on stderr or in a line of their own. */
export function versions(): Record<string, string> {
  const said = (argv: readonly string[], pattern: RegExp): string => pattern.exec(execFileSync("sh", ["-c", `${argv.join(" ")} 2>&1 || true`], { encoding: "utf8" }))?.[1] ?? "?";
  return {
    node: process.version,
    haproxy: said(["haproxy", "-v"], /version (\S+)/),
    nginx: said(["nginx", "-v"], /nginx\/(\S+)/),
    "http-proxy": (require("http-proxy/package.json") as { version: string }).version,
    wrk: said(["wrk", "-v"], /wrk (\S+)/),
  };
}
