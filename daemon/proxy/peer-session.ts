import type { TLSSocket } from "node:tls";
import type { Request } from "./asker.js";
import { AtApache, type ApacheOwner } from "./at-apache.js";
import { HeadCollector } from "./head-collector.js";
import { parseRequest, type RequestHead, type ResponseHead, writtenHead } from "./http-head.js";
import { Http1Asker } from "./http1-asker.js";
import { limits } from "./limits.js";
import { Link, type Sink } from "./link.js";
import { StreamedUpload } from "./uploads.js";
import { parsePrelude, type Prelude, type Verdict, verdictLine } from "./verdict.js";
import type { WorkerState } from "./worker-state.js";

/** One connection from another node's proxy. The verdict leaves before a body is read; only `accepted` runs anything. */
export class PeerSession extends Http1Asker implements Sink, ApacheOwner {
  public readonly link: Link;
  private state: "prelude" | "head" | "body" | "run" | "tunnel" | "over" = "prelude";
  private line = "";
  private prelude: Prelude | undefined;
  private readonly collector = new HeadCollector(writtenHead.mostBytes);
  private upload: StreamedUpload | undefined;
  private at: AtApache | undefined;
  private request: Request | undefined;
  private unit = "";
  /** Apache was not reached: it is tried until then (performance.now), for the request has not run. */
  private untilMs = 0;
  private retry: NodeJS.Timeout | undefined;
  /** Counts as the request while it pauses before it is tried again: a hold waits for it, or it would run after one. */
  private readonly pausing = { absorb: () => undefined };
  /** An answer without a length goes on in chunks: over TLS the end of a connection tells nothing. */
  private chunks = false;

  public constructor(private readonly worker: WorkerState, socket: TLSSocket) {
    super();
    this.link = new Link(socket, worker.ticker, this);
    this.link.within(limits.tunnelIdleMs);
  }

  public onBytes(bytes: Buffer): void {
    try {
      switch (this.state) {
        case "prelude": return void this.takePrelude(bytes);
        case "head": return void this.takeHead(bytes);
        case "body":
          // the edge sends a body only after the verdict: until it comes nothing has run, whether the verdict arrived or not, and the edge may go by that
          this.link.pause();
          this.link.putBack(bytes);
          return void this.start();
        case "run":
          if (this.upload !== undefined && !this.upload.complete) return void this.upload.take(bytes);
          this.link.pause();
          this.link.putBack(bytes);
          return;
        case "tunnel":
        case "over": return;
      }
    } catch {
      this.link.destroy();
    }
  }
  public onEnd(): void {
    if (this.state === "run") this.upload?.failed(new Error("the edge ended within a body"));
    else this.close();
  }
  public onGone(): void {
    this.state = "over";
    this.endPause();
    this.at?.abort();
    this.at = undefined;
  }
  public onOverdue(): void {
    if (this.state === "run" && this.upload !== undefined && !this.upload.complete) this.upload.failed(new Error("idle"));
    else this.link.destroy();
  }
  public override tunnel(response: ResponseHead): Link {
    this.state = "tunnel";
    return super.tunnel(response);
  }

  public mayAnswer(): boolean {
    return this.prelude !== undefined && this.worker.routes.mayAnswer(this.prelude.unit, this.prelude.epoch);
  }
  public onAnswered(status: number): void {
    this.worker.count(this.unit, status);
  }
  public onFailed(message: string, answered: boolean, run: boolean): void {
    const { head, worker, unit, prelude, request } = this;
    if (!run && request !== undefined && prelude !== undefined && performance.now() < this.untilMs && worker.routes.mayPass(unit, prelude.epoch)) {
      this.at = undefined;
      worker.begin(unit, this.pausing);
      this.retry = setTimeout(() => {
        // the hold may have waited for it in vain meanwhile, and the unit be gone
        if (!worker.routes.mayPass(unit, prelude.epoch)) {
          this.onFailed(message, answered, run);
          return this.endPause();
        }
        const at = new AtApache(worker, unit, request, this);
        this.at = at;
        this.endPause();
        // a hold that came meanwhile, or before, was not told to this one
        if (worker.routes.isHeld(unit)) at.absorb();
        at.start();
      }, limits.retryHeldCapMs);
      return;
    }
    worker.error(unit, `${head?.method} ${head?.target.slice(0, 100)}: ${message}`);
    if (answered) return void this.cut();
    // what the edge has not heard of its request it counts as run: a connection that cannot go on says so
    this.head = head === undefined ? undefined : { ...head, keepAlive: false };
    this.own(502);
  }
  public override begin(response: ResponseHead, first: Buffer): void {
    this.chunks = response.framing.kind === "until-close" && this.head?.minor === 1;
    if (!this.chunks) return void super.begin(response, first);
    super.begin({ ...response, framing: { kind: "chunked" } }, Buffer.alloc(0));
    this.body(first);
  }
  public override body(bytes: Buffer): void {
    if (!this.chunks) return void super.body(bytes);
    if (bytes.length > 0) super.body(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`, "latin1"), bytes, Buffer.from("\r\n", "latin1")]));
  }
  public override end(): void {
    if (this.chunks) this.link.write("0\r\n\r\n");
    this.chunks = false;
    super.end();
  }
  /** A TLS connection has no reset of its own: an end without the rest of the answer is one, for each has a length or chunks. */
  public override cut(): void {
    this.link.destroy();
  }
  /** This worker is to end: the edge takes another connection for its next request. */
  protected override get keeps(): boolean {
    return super.keeps && !this.worker.leaving;
  }
  /** The edge guards its client; between nodes much may lie in buffers before one of them drains. */
  protected override get takesWithinMs(): number {
    return limits.answerMs;
  }
  protected get bodyRead(): boolean {
    return this.upload === undefined || this.upload.complete;
  }
  protected next(): void {
    this.at = undefined;
    this.upload = undefined;
    this.onRoom = undefined;
    if (this.state === "over") return;
    if (!this.keep) return void this.close();
    this.again();
  }

  private takePrelude(bytes: Buffer): void {
    const end = bytes.indexOf(10);
    this.line += bytes.toString("latin1", 0, end === -1 ? bytes.length : end + 1);
    if (this.line.length > 256) return void this.link.destroy();
    if (end === -1) return;
    if (!this.line.endsWith("\r\n")) return void this.link.destroy();
    this.prelude = parsePrelude(this.line.slice(0, -2));
    this.line = "";
    this.state = "head";
    this.link.within(limits.headMs);
    if (end + 1 < bytes.length) this.takeHead(bytes.subarray(end + 1));
  }
  private takeHead(bytes: Buffer): void {
    const whole = this.collector.take(bytes);
    if (whole === undefined) return;
    const head = parseRequest(whole, writtenHead.mostFields);
    this.link.putBack(this.collector.takeRest());
    this.link.within(0);
    this.judge(head, whole.toString("latin1"));
  }
  private judge(head: RequestHead, headOut: string): void {
    const { worker, link } = this;
    const { unit, epoch } = this.prelude as Prelude;
    const verdict = this.verdictOf(unit, epoch);
    if (verdict !== "accepted") {
      link.write(verdictLine(verdict));
      return void (worker.leaving ? this.close() : this.again());
    }
    this.head = head;
    this.upload = head.framing.kind === "none" ? undefined : new StreamedUpload(link, head.framing);
    this.request = { asker: this, head, headOut, upload: this.upload };
    this.unit = unit;
    this.untilMs = performance.now() + limits.holdMs;
    // in flight from here on: a hold waits for it
    this.at = new AtApache(worker, unit, this.request, this);
    link.write(verdictLine("accepted"));
    if (this.upload === undefined || head.expectContinue) return void this.start();
    this.state = "body";
    link.within(limits.bodyIdleMs);
  }
  private start(): void {
    this.state = "run";
    this.link.within(0);
    this.at?.start();
  }
  private verdictOf(unit: string, epoch: number): Verdict {
    const { routes } = this.worker;
    if (routes.mayServe(unit, epoch)) return this.worker.full(unit) ? "held" : "accepted";
    // the edge knows an older epoch, or this is the home and its gate is closed for now
    return routes.route(unit)?.home === routes.table?.node && routes.live(unit) ? "held" : "not-home";
  }
  /** The next request of this connection. */
  private again(): void {
    this.state = "prelude";
    this.prelude = undefined;
    this.request = undefined;
    this.link.within(limits.tunnelIdleMs);
    this.link.resume();
  }
  private endPause(): void {
    clearTimeout(this.retry);
    this.worker.end(this.unit, this.pausing, false);
  }
  private close(): void {
    this.state = "over";
    this.endPause();
    this.at?.abort();
    this.at = undefined;
    this.link.linger(limits.lingerMs);
  }
}
