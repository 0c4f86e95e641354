import type { Socket } from "node:net";
import { addressOf } from "../lib/networks.js";
import type { Upload } from "./asker.js";
import type { Client } from "./at-peer.js";
import { Gathering, isGathered, withLength } from "./gathering.js";
import { HeadCollector } from "./head-collector.js";
import { HeadError, type RequestHead, type ResponseHead } from "./http-head.js";
import { Http1Asker } from "./http1-asker.js";
import { requestHeads } from "./known-heads.js";
import { limits } from "./limits.js";
import { Link, type Sink } from "./link.js";
import { page } from "./pages.js";
import { unitOfHost } from "./routes.js";
import { Run } from "./run.js";
import { sitePolicy } from "./site-policy.js";
import type { Spool } from "./spool.js";
import { GatheredUpload, StreamedUpload } from "./uploads.js";
import type { WorkerState } from "./worker-state.js";

/** One client connection: head, body (taken whole before anything runs, so that slow senders hold up nobody), answer, the next head. */
export class PublicSession extends Http1Asker implements Sink {
  public readonly link: Link;
  private state: "idle" | "head" | "gather" | "run" | "tunnel" | "over" = "idle";
  private readonly collector = new HeadCollector();
  private readonly client: Client;
  private gathering: Gathering | undefined;
  private upload: Upload | undefined;
  private spool: Spool | undefined;
  private run: Run | undefined;
  /** Of the request that is to be logged at its end. */
  private logged: string | undefined;
  private beganMs = 0;

  public constructor(private readonly worker: WorkerState, socket: Socket, proto: "http" | "https" = "http", address = addressOf(socket)) {
    super();
    this.client = { address, proto, socket };
    this.link = new Link(socket, worker.ticker, this);
    this.link.within(limits.keepAliveMs);
  }

  public onBytes(bytes: Buffer): void {
    switch (this.state) {
      case "idle":
      case "head": return void this.takeHead(bytes);
      case "gather": return void this.gathering?.take(bytes);
      case "run":
        if (this.upload instanceof StreamedUpload && !this.upload.complete) return void this.upload.take(bytes);
        // the next request: it waits for its turn
        this.link.pause();
        this.link.putBack(bytes);
        return;
      case "tunnel":
      case "over": return;
    }
  }
  public onEnd(): void {
    if (this.state === "idle" || this.state === "head") return void this.close();
    if (this.state === "gather") return void this.gathering?.fail(400, "the client ended within its body");
    if (this.upload instanceof StreamedUpload) this.upload.failed(new Error("the client ended within its body"));
    // its answer it may still want
  }
  public onGone(): void {
    const { run } = this;
    this.record();
    this.state = "over";
    this.gathering?.stop();
    run?.abort();
    this.forget();
  }
  public onOverdue(): void {
    switch (this.state) {
      case "idle": return void (this.link.blocked ? this.link.destroy() : this.close());
      case "head":
        this.link.write(page(408, { keep: false, head: false }));
        return void this.close();
      case "gather": return void this.gathering?.fail(408, "the body came too slowly");
      case "run":
        if (this.upload instanceof StreamedUpload && !this.upload.complete) return void this.upload.failed(new Error("the body came too slowly"));
        return void this.link.reset();
      case "tunnel":
      case "over": return void this.link.destroy();
    }
  }
  public override tunnel(response: ResponseHead): Link {
    this.state = "tunnel";
    return super.tunnel(response);
  }
  public override tunnelEnded(): void {
    this.record();
  }
  public override cut(): void {
    this.record();
    super.cut();
  }
  /** This worker is to end: connections close after their next answer, or their keep-alive time. */
  protected override get keeps(): boolean {
    return super.keeps && !this.worker.leaving;
  }
  protected get bodyRead(): boolean {
    return this.state === "run" && (this.upload === undefined || this.upload.complete);
  }
  protected next(): void {
    this.record();
    this.forget();
    if (this.state === "over") return;
    if (!this.keep) return void this.close();
    this.state = "idle";
    if (!this.link.blocked) return void this.awaitNext();
    // a client that sends on and on, and reads nothing, waits; the end of its answer may still be on its way
    this.link.pause();
    this.link.idle(limits.bodyIdleMs);
    this.onRoom = () => {
      this.onRoom = undefined;
      this.awaitNext();
    };
  }

  private awaitNext(): void {
    this.link.within(limits.keepAliveMs);
    this.link.resume();
    if (this.state === "idle" && this.link.hasEnded && !this.link.gone) this.close();
  }
  private takeHead(bytes: Buffer): void {
    if (this.state === "idle") {
      // as most come: the same as before, whole, and nothing behind it
      const known = requestHeads.find(bytes);
      if (known !== undefined) {
        this.link.within(0);
        return void this.received(known);
      }
      this.state = "head";
      this.link.within(limits.headMs);
    }
    let head: RequestHead;
    try {
      const whole = this.collector.take(bytes);
      if (whole === undefined) return;
      head = requestHeads.of(whole);
    } catch (error) {
      this.link.write(page(error instanceof HeadError ? error.status : 400, { keep: false, head: false }));
      return void this.close();
    }
    this.link.within(0);
    this.link.putBack(this.collector.takeRest());
    this.received(head);
  }
  private received(head: RequestHead): void {
    const { worker, link } = this;
    this.head = head;
    const { table } = worker.routes;
    const unit = table === undefined ? undefined : unitOfHost(table, head.host);
    this.state = head.framing.kind === "none" ? "run" : "gather";
    if (unit !== undefined && worker.logs(unit)) {
      this.logged = unit;
      this.beganMs = performance.now();
      this.status = 0;
      this.sentBytes = 0;
    }
    if (table === undefined) return void this.own(503);
    const policy = sitePolicy({ table, unit, head, proto: this.client.proto, certificates: worker.tls, challenges: worker.challenges });
    if ("answer" in policy) {
      if (unit !== undefined) worker.count(unit, policy.status);
      return void this.ownText(policy.answer, policy.status, this.keeps && head.framing.kind === "none");
    }
    this.answerFields = policy.fields;
    if (unit === undefined) return void this.own(404);
    if (head.framing.kind === "none") return void this.dispatch(unit, head);
    if (!isGathered(head.framing, worker.spoolRoom)) {
      link.pause();
      this.upload = new StreamedUpload(link, head.framing);
      return void this.dispatch(unit, head);
    }
    this.gathering = new Gathering(link, head.framing, worker.spoolRoom, {
      whole: (spool) => {
        this.spool = spool;
        this.upload = spool.size === 0 ? undefined : new GatheredUpload(spool);
        this.dispatch(unit, withLength(head, spool.size));
      },
      failed: ({ status, message }) => {
        worker.error(unit, `${head.method} ${head.target.slice(0, 100)}: ${message}`);
        worker.count(unit, status);
        this.own(status);
      },
    });
    if (head.expectContinue) link.write("HTTP/1.1 100 Continue\r\n\r\n");
    this.gathering.start();
  }
  private dispatch(unit: string, head: RequestHead): void {
    this.state = "run";
    const run = new Run(this.worker, unit, { asker: this, head, headOut: requestHeads.out(head, this.client), upload: this.upload }, this.client);
    this.run = run;
    run.start();
  }
  /** Once a request. */
  private record(): void {
    const { logged, head, run, status } = this;
    if (logged === undefined || head === undefined) return;
    this.logged = undefined;
    this.worker.visited(logged, { client: this.client, head, version: head.minor === 1 ? "HTTP/1.1" : "HTTP/1.0", status, bytes: this.sentBytes, beganMs: this.beganMs, run });
  }
  /** What is left of a connection that idles is small: there may be many. */
  private forget(): void {
    this.head = undefined;
    this.run = undefined;
    this.gathering = undefined;
    this.upload = undefined;
    this.spool?.close();
    this.spool = undefined;
    this.onRoom = undefined;
  }
  private close(): void {
    this.state = "over";
    this.link.linger(limits.lingerMs);
  }
}
