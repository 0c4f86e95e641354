import type { Socket } from "node:net";
import type { NodeContext } from "../context.js";
import type { ServiceDefinition } from "../platform/platform.js";
import type { ToControl } from "./channel.js";
import { WorkerWatch } from "./worker-watch.js";

export type Report = Extract<ToControl, { type: "report" }>;
type Hello = Extract<ToControl, { type: "hello" }>;
/** A worker that was asked to leave and has not after so many beats (60 s; its own deadline is 40 s) is started anew. */
const leavingBeats = 240;

/** The workers of a node as the control process sees them: who is there, what they report, who hangs, and who is of an older build. */
export class Workers {
  public readonly reports = new Map<Socket, Report>();
  private readonly reportedMs = new Map<Socket, number>();
  private readonly names = new Map<Socket, Hello>();
  private readonly watch: WorkerWatch<Socket>;
  /** One that has begun is finished, also at the end of this process: it must not leave a worker stopped. */
  private restarting: Promise<unknown> = Promise.resolve();
  private leaving: { socket: Socket; name: string; beats: number } | undefined;
  private started = false;

  public constructor(private readonly context: NodeContext, private readonly services: readonly ServiceDefinition[], private readonly askToLeave: (socket: Socket) => void) {
    this.watch = new WorkerWatch(services.map(({ name }) => name), (name, why) => {
      const done = this.restart(name, why);
      this.restarting = Promise.all([this.restarting, done]);
      return done;
    });
  }

  /** When the oldest report came, UTC ms; 0: one that runs has not reported. */
  public reportedAtMs(): number {
    return this.reportedMs.size < this.services.length ? 0 : Math.min(...this.reportedMs.values());
  }
  public get restarts(): number {
    return this.watch.restarts;
  }
  public heard(socket: Socket, message: ToControl): void {
    this.watch.heard(socket);
    if (message.type === "report") {
      this.reports.set(socket, message);
      this.reportedMs.set(socket, this.context.clock.wallMs());
    }
    if (message.type !== "hello") return;
    this.names.set(socket, message);
    this.watch.joined(socket, message.name ?? "");
  }
  public left(socket: Socket): void {
    this.reports.delete(socket);
    this.reportedMs.delete(socket);
    this.names.delete(socket);
    this.watch.left(socket);
  }

  /** Starts those that do not run. What runs goes on, also of an older build: `beat` replaces it. */
  public async start(): Promise<void> {
    const { platform } = this.context;
    const known = await platform.serviceStates("hcd-proxy");
    const wanted = new Set(this.services.map(({ name }) => name));
    // fewer than before, or the single one of the first versions
    for (const name of known.keys()) if (!wanted.has(name)) await platform.removeService(name);
    for (const service of this.services) {
      await platform.defineService(service);
      await platform.startService(service.name);
    }
    this.started = true;
  }
  /** With each beat of the control process. */
  public beat(): void {
    if (!this.started) return;
    this.watch.beat();
    this.replace();
  }
  public async stop(): Promise<void> {
    await this.restarting;
  }

  /** One after the other: a worker of another build is asked to leave while all others are there; its supervisor starts the new one. */
  private replace(): void {
    const { leaving } = this;
    if (leaving !== undefined) {
      leaving.beats += 1;
      if (this.names.has(leaving.socket)) {
        if (leaving.beats === leavingBeats) this.restarting = Promise.all([this.restarting, this.restart(leaving.name, "did not leave")]);
        return;
      }
      // its successor first
      if (![...this.names.values()].some((hello) => hello.name === leaving.name) && leaving.beats < 2 * leavingBeats) return;
      this.leaving = undefined;
    }
    for (const service of this.services) {
      const old = [...this.names].find(([, hello]) => hello.name === service.name && hello.argv !== undefined && hello.argv.join("\0") !== service.argv.join("\0"));
      if (old === undefined) continue;
      const others = this.services.filter(({ name }) => name !== service.name);
      if (!others.every(({ name }) => [...this.names.values()].some((hello) => hello.name === name))) return;
      this.leaving = { socket: old[0], name: service.name, beats: 0 };
      this.context.log.info({ worker: service.name }, "a proxy worker of another build is replaced");
      this.askToLeave(old[0]);
      return;
    }
  }
  private async restart(name: string, why: string): Promise<void> {
    const { context } = this;
    context.log.error({ worker: name, why }, "a proxy worker is started anew");
    context.event("", "proxy-restarted", `${context.host.node}: its proxy worker ${name} ${why}`);
    try {
      // killed first: what hangs does not answer a polite end, and its supervisor would wait for that
      await context.platform.killServices([name]);
      await context.platform.stopService(name);
      await context.platform.startService(name);
    } catch (error) {
      context.log.error({ err: error, worker: name }, "the proxy worker could not be started anew");
    }
  }
}
