import type { Request, UploadTaker } from "./asker.js";
import { BodyReader } from "./body-framing.js";
import { HeadCollector } from "./head-collector.js";
import { headEnd, parseResponse, type ResponseHead, writtenHead } from "./http-head.js";
import { responseHeads } from "./known-heads.js";
import { limits } from "./limits.js";
import type { Link, Sink } from "./link.js";
import { Spool, type SpoolRoom } from "./spool.js";
import { Tunnel } from "./tunnel.js";
import { GatheredUpload } from "./uploads.js";

/** Why an answer was held back: this node is not its unit's home any more, or may not say so. */
export const fenced = "fenced";

export interface ExchangeOwner {
  /** Asked before the first byte of the answer leaves (OWNERSHIP 5, 8). */
  mayAnswer(): boolean;
  /** The backend has done its part: all of its answer was taken from it. `keep`: the connection can be used again, and is the owner's now. */
  onRan(keep: boolean): void;
  /** All of the answer has been handed to the asker. Last. */
  onAnswered(status: number): void;
  /** The upstream failed; `answered`: after a part of the answer had left. Last. */
  onFailed(message: string, answered: boolean): void;
}

/** One request at one upstream that has accepted it: body up, answer down, both at once. */
export class Exchange implements Sink, UploadTaker {
  private state: "head" | "body" | "rest" | "tunnel" | "done" = "head";
  private readonly head = new HeadCollector(writtenHead.mostBytes);
  private reader: BodyReader | undefined;
  private response: ResponseHead | undefined;
  /** Bytes of the answer's body that the upstream gave. */
  public bodyBytes = 0;
  private answered = false;
  private uploading = false;
  private heard = false;
  private interims = 0;
  /** Set by `absorb`: what the asker does not take yet goes there, so that the backend need not wait. */
  private spool: Spool | undefined;
  private absorbing = false;
  private spoolAt = 0;
  /** What found no room there: it follows. */
  private overflow: Buffer | undefined;
  private spoolBusy = false;
  private tunnel: Tunnel | undefined;

  public constructor(private readonly request: Request, private readonly up: Link, private readonly owner: ExchangeOwner, private readonly room: SpoolRoom) {}

  /** `headOut`: what is written first, unless it has been already. */
  public start(headOut: string | undefined): void {
    const { up, request } = this;
    up.attach(this);
    up.within(0);
    up.idle(limits.answerMs);
    request.asker.onRoom = () => this.onRoom();
    const { upload } = request;
    const whole = upload instanceof GatheredUpload ? upload.whole : undefined;
    if (whole !== undefined) up.writeBoth(headOut ?? "", whole);
    else {
      if (headOut !== undefined) up.write(headOut);
      if (upload !== undefined) {
        this.uploading = true;
        upload.start(this);
      }
    }
    up.resume();
  }
  /** The connection ended before a byte of an answer: one of the pool may have been closed already when it was taken. */
  public untouched = false;
  public get hasAnswered(): boolean {
    return this.answered;
  }
  /** Nobody waits for the answer any more. The owner hears nothing. */
  public abort(): void {
    if (this.state === "done") return;
    const theirs = this.state === "rest"; // the connection may carry another request already
    this.finish();
    if (!theirs) this.up.destroy();
  }
  /** The unit is to be left (a hold): the backend must not wait for whom it answers. */
  public absorb(): void {
    if (this.state === "tunnel") return void this.tunnel?.goodbye();
    this.absorbing = true;
    // what found no room goes first
    if (this.state === "body" && this.overflow === undefined) this.up.resume();
  }

  public upload(bytes: Buffer): boolean {
    this.up.touch();
    return this.up.write(bytes);
  }
  public uploadEnded(): void {
    this.uploading = false;
  }
  public uploadFailed(error: Error): void {
    this.fail(error.message);
  }

  public onBytes(bytes: Buffer): void {
    this.heard = true;
    if (this.state === "body") return void this.takeBody(bytes);
    if (this.state !== "head") return void this.up.destroy();
    try {
      if (!this.takeWhole(bytes)) this.takeHead(bytes);
    } catch (error) {
      this.fail((error as Error).message);
    }
  }
  public onEnd(): void {
    if (this.state === "body" && this.response?.framing.kind === "until-close") return void this.ran(false);
    this.untouched = !this.heard;
    this.fail(this.state === "head" ? "no answer" : "answer was cut short");
  }
  public onGone(error: Error | undefined): void {
    if (this.state === "rest") return; // it has done its part
    this.untouched = !this.heard;
    this.fail(error?.message ?? "connection closed");
  }
  public onDrain(): void {
    if (this.uploading) this.request.upload?.more();
  }
  public onOverdue(): void {
    this.fail(this.up.blocked ? "the upstream takes nothing" : "no answer in time");
  }

  /** The usual head: at once, with or without what follows it. */
  private takeWhole(bytes: Buffer): boolean {
    const { method } = this.request.head;
    const end = method === "HEAD" || !this.head.isEmpty ? -1 : headEnd(bytes, 0, writtenHead.mostBytes);
    if (end === -1) return false;
    const response = responseHeads.of(bytes, end);
    if (response.status < 200 || response.status === 101) return false;
    this.begin(response, bytes.subarray(end));
    return true;
  }
  private takeHead(bytes: Buffer): void {
    const { method } = this.request.head;
    let piece = bytes;
    for (;;) {
      const head = this.head.take(piece);
      if (head === undefined) {
        this.up.within(limits.headMs);
        return;
      }
      const response = method === "HEAD" ? parseResponse(head, method) : responseHeads.of(head);
      piece = this.head.takeRest();
      if (response.status >= 200 || response.status === 101) return void this.begin(response, piece);
      this.interims += 1;
      if (this.interims > limits.interimAnswers) return void this.fail("too many interim answers");
      if (!this.owner.mayAnswer()) return void this.fail(fenced);
      this.up.within(0);
      if (this.request.head.minor === 1) this.request.asker.interim(response);
      if (piece.length === 0) return;
    }
  }
  private begin(response: ResponseHead, bytes: Buffer): void {
    const { asker, head } = this.request;
    if (!this.owner.mayAnswer()) return void this.fail(fenced);
    this.response = response;
    this.up.within(0);
    if (response.status === 101) {
      if (!head.upgrade) return void this.fail("unasked 101");
      this.answered = true;
      this.state = "tunnel";
      this.up.putBack(bytes);
      this.tunnel = new Tunnel(asker.tunnel(response), this.up, head, () => {
        if (this.state === "done") return;
        this.finish();
        asker.tunnelEnded();
        this.owner.onRan(false);
        this.owner.onAnswered(101);
      });
      // the hold came before this answer
      if (this.absorbing) this.tunnel.goodbye();
      return;
    }
    this.reader = new BodyReader(response.framing);
    this.state = "body";
    this.answered = true;
    try {
      const used = this.payload(bytes);
      asker.begin(response, used.out);
      this.taken(bytes, used.bytes);
    } catch (error) {
      this.fail((error as Error).message);
    }
  }
  private takeBody(bytes: Buffer): void {
    try {
      const used = this.payload(bytes);
      if (used.out.length > 0) this.give(used.out);
      this.taken(bytes, used.bytes);
    } catch (error) {
      this.fail((error as Error).message);
    }
  }
  /** What of these bytes belongs to the answer, as the asker takes it. */
  private payload(bytes: Buffer): { bytes: number; out: Buffer } {
    const reader = this.reader as BodyReader;
    if (!this.request.asker.dechunks || this.response?.framing.kind !== "chunked") {
      const used = reader.take(bytes);
      this.bodyBytes += used;
      return { bytes: used, out: used === bytes.length ? bytes : bytes.subarray(0, used) };
    }
    const pieces: Buffer[] = [];
    const used = reader.take(bytes, (data) => pieces.push(data));
    this.bodyBytes += used;
    return { bytes: used, out: pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces) };
  }
  private taken(bytes: Buffer, used: number): void {
    const { asker } = this.request;
    if (this.state !== "body") return;
    if (asker.writing) this.up.lend();
    if (this.overflow !== undefined && this.reader?.done !== true) return;
    if (this.reader?.done === true) return void this.ran(used === bytes.length && !this.up.hasEnded);
    if (asker.blocked && !this.absorbing) this.up.pause();
  }
  private give(bytes: Buffer): void {
    const { asker } = this.request;
    if (this.spool === undefined) {
      if (!this.absorbing || !asker.blocked) return void asker.body(bytes);
      this.spool = new Spool(this.room);
    }
    this.up.lend();
    if (this.overflow !== undefined) {
      // one piece may come after a pause
      this.overflow = Buffer.concat([this.overflow, bytes]);
      return;
    }
    if (this.spool.append(bytes)) {
      if (this.spool.congested) {
        this.up.pause();
        this.spool.onChange(() => this.state === "body" && this.up.resume());
      }
      return;
    }
    if (this.spool.error !== undefined) throw this.spool.error;
    // no room: the backend waits after all
    this.absorbing = false;
    this.overflow = bytes;
    this.up.pause();
  }

  private ran(keep: boolean): void {
    if (this.state !== "body") return;
    this.state = "rest";
    this.up.idle(0);
    this.request.upload?.stop();
    this.owner.onRan(keep && this.response?.keepAlive === true && !this.uploading);
    if (this.spool === undefined) this.end();
    else this.fromSpool();
  }
  /** The asker has room: first what was absorbed, then the upstream's. */
  private onRoom(): void {
    if (this.spool !== undefined) return void this.fromSpool();
    if (this.state === "body") this.up.resume();
  }
  private fromSpool(): void {
    const { spool, request: { asker } } = this;
    if (spool === undefined || this.spoolBusy || asker.blocked || this.state === "done") return;
    if (this.spoolAt === spool.size) {
      const { overflow } = this;
      spool.close();
      this.spool = undefined;
      this.overflow = undefined;
      this.spoolAt = 0;
      if (overflow !== undefined) asker.body(overflow);
      if (this.state === "rest") this.end();
      else if (!asker.blocked || this.absorbing) this.up.resume();
      return;
    }
    this.spoolBusy = true;
    spool.read(this.spoolAt, (bytes) => {
      this.spoolBusy = false;
      if (this.state === "done") return;
      if (bytes === undefined) {
        if (spool.error === undefined) return spool.onChange(() => this.fromSpool());
        return this.state === "rest" ? this.broken(spool.error.message) : this.fail(spool.error.message);
      }
      this.spoolAt += bytes.length;
      asker.body(bytes);
      this.fromSpool();
    });
  }
  private end(): void {
    const status = this.response?.status ?? 0;
    this.finish();
    this.request.asker.end();
    this.owner.onAnswered(status);
  }
  private finish(): void {
    this.state = "done";
    this.request.asker.onRoom = undefined;
    this.request.upload?.stop();
    this.spool?.close();
    this.spool = undefined;
  }
  private fail(message: string): void {
    if (this.state === "done" || this.state === "rest") return;
    this.finish();
    this.up.destroy();
    this.owner.onRan(false);
    this.owner.onFailed(message, this.answered);
  }
  /** After the backend has done its part: its connection is not ours any more. */
  private broken(message: string): void {
    this.finish();
    this.owner.onFailed(message, true);
  }
}
