import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { machineMs } from "../../daemon/lib/clock.js";
import type { RouteTable, UnitRoute } from "../../daemon/proxy/routes.js";
import type { PublicCertificate } from "../../daemon/proxy/tls-contexts.js";
import { type RunningWorker, startWorker } from "../../daemon/proxy/worker.js";
import { edgePki } from "./edge-pki.js";
import { type WorkerControl, workerControl } from "./worker-control.js";

export interface Answer { status: number; headers: IncomingMessage["headers"]; body: Buffer }
export interface Asked { method?: string; path?: string; host?: string; headers?: Record<string, string>; body?: Buffer; port?: number }
export type At = "edge" | "home";

/** Ends an HTTP server with all that is connected to it. */
export async function closeServer(server: { closeAllConnections(): void; close(done: () => void): unknown }): Promise<void> {
  server.closeAllConnections();
  await new Promise<void>((resolve) => server.close(resolve));
}
export const listen = (server: { listen(...args: unknown[]): unknown; address(): unknown }, ...args: unknown[]): Promise<number> =>
  new Promise((resolve) => server.listen(...args, () => resolve((server.address() as { port: number } | string as { port: number }).port)));

export async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 2000; i += 1) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`never: ${what}`);
}

/** Two real workers (edge n1, home n2) over mutual TLS, each with a control socket of the test's own, before whatever listens in Apache's place. */
export class ProxyPair {
  /** As they were told last; from `start` on. */
  public tables!: Record<At, RouteTable>;
  private constructor(public readonly pki: Awaited<ReturnType<typeof edgePki>>, private readonly apache: Record<At, number>, public readonly control: Record<At, WorkerControl>, public readonly worker: Record<At, RunningWorker>) {}

  /** Ports of what is in Apache's place: one for both nodes, or one each. */
  public static async start(apache: number | Record<At, number>): Promise<ProxyPair> {
    const pki = await edgePki(["n1", "n2", "stranger"]);
    const controls = { edge: await workerControl(join(pki.folder, "n1.sock")), home: await workerControl(join(pki.folder, "n2.sock")) };
    const worker = async (at: At, name: string): Promise<RunningWorker> => startWorker({ httpPort: 0, httpsPort: 0, peerPort: 0, channel: controls[at].path, pki: pki.of(name), hosts: { http: "127.0.0.1", peer: "127.0.0.1" }, spool: pki.folder });
    const pair = new ProxyPair(pki, typeof apache === "number" ? { edge: apache, home: apache } : apache, controls, { edge: await worker("edge", "n1"), home: await worker("home", "n2") });
    for (const one of Object.values(controls)) one.push({ type: "deadline", ms: machineMs() + 600_000 });
    await pair.route({});
    return pair;
  }
  public async stop(): Promise<void> {
    for (const at of ["edge", "home"] as const) {
      await this.worker[at].stop();
      await this.control[at].close();
    }
  }

  /** Tells both where the one site is at home. */
  public async route(unit: Partial<UnitRoute>, others: RouteTable["nodes"] = {}): Promise<void> {
    const { edge, home } = this.worker;
    const base = { home: "n2", epoch: 1, open: true, ...unit };
    const nodes = { n1: { addresses: ["127.0.0.1"], port: edge.peerPort }, n2: { addresses: ["127.0.0.1"], port: home.peerPort }, ...others };
    const revision = String(Number(this.tables?.edge.revision ?? 0) + 1);
    const hosts = { "wiki.localhost": "site-wiki", "*.wild.example": "site-wiki", "other.localhost": "site-other" };
    const make = (node: string, apachePort: number): RouteTable => ({ version: 1, revision, node, hosts, units: { "site-wiki": { ...base, open: base.open && base.home === node }, "site-other": { home: "n2", epoch: 1, open: node === "n2" } }, nodes, apachePort });
    this.tables = { edge: make("n1", this.apache.edge), home: make("n2", this.apache.home) };
    for (const at of ["edge", "home"] as const) this.control[at].push({ type: "routes", table: this.tables[at] });
    await until(() => edge.state.routes.table?.revision === revision && home.state.routes.table?.revision === revision);
  }
  /** Gives both the certificate of a name, as their control processes do. */
  public async certify(host: string, { chain, key }: PublicCertificate): Promise<void> {
    for (const at of ["edge", "home"] as const) this.control[at].push({ type: "certificates", reset: true, complete: true, certificates: { own: { chain, key } }, names: { [host]: "own" } });
    await until(() => this.worker.edge.state.tls.has(host) && this.worker.home.state.tls.has(host));
  }
  /** Closes the gates of these units at a worker, and opens all others. */
  public hold(at: At, units: readonly string[], ms = 60_000): void {
    this.control[at].push({ type: "deadline", ms: machineMs() + 600_000, holds: Object.fromEntries(units.map((unit) => [unit, machineMs() + ms])) });
  }
  /** What a worker has said of the units that are held. */
  public held(at: At): Record<string, number>[] {
    return this.control[at].heard.flatMap((message) => (message.type === "holding" ? [message.inFlight] : []));
  }
  public port(at: At): number {
    return this.worker[at].httpPort;
  }
  public ask(options: Asked): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({ host: "127.0.0.1", port: options.port ?? this.port("edge"), method: options.method ?? "GET", path: options.path ?? "/", headers: { host: options.host ?? "wiki.localhost", ...options.headers }, agent: false }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(options.body);
    });
  }
  /** Sends raw bytes, returns all that comes back until the end. */
  public raw(text: string, port = this.port("edge")): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(text, "latin1"));
      let back = "";
      socket.on("data", (data) => {
        back += data.toString("latin1");
      });
      socket.on("end", () => resolve(back));
      socket.on("close", () => resolve(back));
      socket.on("error", reject);
    });
  }
}
