import type { Request } from "./asker.js";
import { isIdempotent } from "./at-apache.js";
import { Exchange } from "./exchange.js";
import { HeadError } from "./http-head.js";
import { limits } from "./limits.js";
import type { Link, Sink } from "./link.js";
import type { RouteTable, UnitRoute } from "./routes.js";
import type { Ends } from "./socket-owners.js";
import { parseVerdict, preludeLine, type Verdict } from "./verdict.js";
import type { WorkerState } from "./worker-state.js";

export interface PeerOwner {
  /** It runs there: it has left every queue. */
  onAccepted(): void;
  /** It has surely not run. Last. */
  onRefused(verdict: Exclude<Verdict, "accepted">): void;
  onAnswered(status: number): void;
  /** It may have run, unless the home has lost its unit meanwhile and the request may run twice. Last. */
  onFailed(message: string, answered: boolean): void;
}
export interface Client {
  address: string;
  proto: "http" | "https";
  /** Its connection. */
  socket: Ends;
}

/**
 * A request at another node's proxy, which is asked first. Anything but `accepted` means that it has not run. While it is dialled, or waits for a verdict or an answer, it is let go of as soon as the unit has
 * another home after a failover: from the old one, dead, cut off or hung, no answer may be passed on any more (OWNERSHIP 8).
 */
export class AtPeer implements Sink {
  private link: Link | undefined;
  private key = "";
  private reused = false;
  private line = "";
  private exchange: Exchange | undefined;
  private letGo: () => void = () => undefined;
  private over = false;

  public constructor(private readonly worker: WorkerState, private readonly unit: string, private readonly route: UnitRoute, private readonly request: Request, private readonly client: Client, private readonly owner: PeerOwner) {}

  public start(table: RouteTable, fresh = false): void {
    const { upstreams } = this.worker;
    const target = table.nodes[this.route.home];
    // a node that has moved is another place
    this.key = `peer:${this.route.home}:${target?.port}:${target?.addresses[0]}`;
    const pooled = fresh ? undefined : upstreams.take(this.key);
    this.reused = pooled !== undefined;
    if (pooled !== undefined) return void this.ask(pooled);
    // a node without power is dialled for a second or two before it is given up; nothing was sent, so the request goes on as soon as its unit has another home
    this.letGo = this.worker.routes.onPassed(this.unit, this.route.epoch, () => this.refused("not-home"));
    if (this.over) return;
    upstreams.peer(table, this.route.home, (link, error) => {
      if (this.over) return void link?.destroy();
      this.letGo();
      if (link !== undefined) return void this.ask(link);
      this.worker.error(this.unit, error ?? "not reached");
      this.refused("not-home");
    });
  }
  public abort(): void {
    if (this.over) return;
    this.over = true;
    this.letGo();
    if (this.exchange === undefined) this.link?.destroy();
    else this.exchange.abort();
  }

  public onBytes(bytes: Buffer): void {
    const end = bytes.indexOf(10);
    this.line += bytes.toString("latin1", 0, end === -1 ? bytes.length : end + 1);
    try {
      if (this.line.length > 256) throw new HeadError(502, "verdict");
      if (end === -1) return;
      const { link } = this;
      if (!this.line.endsWith("\r\n") || link === undefined) throw new HeadError(502, "verdict");
      this.take(parseVerdict(this.line.slice(0, -2)), link, bytes.subarray(end + 1));
    } catch (error) {
      this.unheard((error as Error).message);
    }
  }
  public onEnd(): void {
    this.unheard("no verdict");
  }
  public onGone(error: Error | undefined): void {
    this.unheard(error?.message ?? "connection closed");
  }
  public onDrain(): void {}
  public onOverdue(): void {
    this.unheard("none in time");
  }

  public mayAnswer(): boolean {
    this.letGo();
    return !this.worker.routes.hasPassed(this.unit, this.route.epoch);
  }
  public onRan(keep: boolean): void {
    const { link } = this;
    this.link = undefined;
    if (link !== undefined) this.worker.upstreams.release(this.key, link, keep);
  }
  public onAnswered(status: number): void {
    this.over = true;
    this.letGo();
    this.owner.onAnswered(status);
  }
  public onFailed(message: string, answered: boolean): void {
    this.over = true;
    this.letGo();
    this.owner.onFailed(message, answered);
  }

  /** Without a verdict the home may have begun to run what has no body, or asks for it (the head is enough); what waits for its body has not run (peer-session.ts). */
  private get notRun(): boolean {
    const { head, upload } = this.request;
    return (upload !== undefined && !head.expectContinue) || isIdempotent(head);
  }
  private ask(link: Link): void {
    const { unit, route, client, request } = this;
    this.link = link;
    this.line = "";
    this.letGo = this.worker.routes.onPassed(unit, route.epoch, () => link.destroy());
    link.attach(this);
    link.idle(0);
    link.within(limits.verdictMs);
    link.write(preludeLine({ unit, epoch: route.epoch, client: client.address, proto: client.proto }) + request.headOut);
    link.resume();
  }
  private take(verdict: Verdict, link: Link, rest: Buffer): void {
    link.within(0);
    if (verdict === "accepted") {
      this.owner.onAccepted();
      link.putBack(rest);
      this.exchange = new Exchange(this.request, link, this, this.worker.spoolRoom);
      this.exchange.start(undefined);
      return;
    }
    this.letGo();
    this.link = undefined;
    this.worker.upstreams.release(this.key, link, rest.length === 0);
    this.refused(verdict);
  }
  private refused(verdict: Exclude<Verdict, "accepted">): void {
    this.over = true;
    this.owner.onRefused(verdict);
  }
  /** The connection gave no verdict. */
  private unheard(why: string): void {
    const { link, worker } = this;
    if (this.over || link === undefined) return;
    this.link = undefined;
    this.letGo();
    link.destroy();
    if (!this.notRun) {
      this.over = true;
      this.owner.onFailed(why, false);
      return;
    }
    const { table } = worker.routes;
    if (this.reused && table !== undefined && !worker.routes.hasPassed(this.unit, this.route.epoch)) return void this.start(table, true);
    worker.error(this.unit, `no verdict of ${this.route.home}: ${why}`);
    this.refused("not-home");
  }
}
