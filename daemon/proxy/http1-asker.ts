import type { Asker } from "./asker.js";
import { responseOut } from "./heads-out.js";
import type { RequestHead, ResponseHead } from "./http-head.js";
import { responseHeads } from "./known-heads.js";
import { limits } from "./limits.js";
import type { Link } from "./link.js";
import { page } from "./pages.js";

/** The answering half of an HTTP/1 connection: one request after the other. Its reading half is the session's. */
export abstract class Http1Asker implements Asker {
  public onRoom: (() => void) | undefined;
  /** Of the request that is answered. */
  protected head: RequestHead | undefined;
  /** Lines that the proxy adds to the head of its answer (site-policy.ts). */
  protected answerFields = "";
  /** Another request may follow the answer that has begun. */
  protected keep = false;
  /** Of the answer that was begun last; 0: none. */
  protected status = 0;
  /** Bytes of its body that were handed to the connection. */
  protected sentBytes = 0;

  public abstract readonly link: Link;
  /** The body has been read to its end. */
  protected abstract get bodyRead(): boolean;
  /** The answer is out. */
  protected abstract next(): void;

  public get dechunks(): boolean {
    return this.head?.minor === 0;
  }
  public get blocked(): boolean {
    return this.link.blocked;
  }
  public get writing(): boolean {
    return this.link.writing;
  }
  public interim(response: ResponseHead): void {
    this.link.write(responseOut(response, { keep: true, clientMinor: 1, dechunk: false }));
  }
  public begin(response: ResponseHead, first: Buffer): void {
    const dechunk = this.dechunks && response.framing.kind === "chunked";
    // an early answer with request bytes still unread closes the connection (RFC 9112 §9.6)
    this.keep = this.keeps && response.framing.kind !== "until-close" && !dechunk && this.bodyRead;
    this.status = response.status;
    this.sentBytes = first.length;
    this.sent(this.link.writeBoth(responseHeads.out(response, { keep: this.keep, clientMinor: this.head?.minor ?? 1, dechunk, fields: this.answerFields }), first));
  }
  public body(bytes: Buffer): void {
    this.sentBytes += bytes.length;
    this.sent(this.link.write(bytes));
  }
  public end(): void {
    this.link.idle(0);
    this.next();
  }
  public own(status: number): void {
    const keep = this.keeps && this.bodyRead;
    this.ownText(page(status, { keep, head: this.head?.method === "HEAD" }), status, keep);
  }
  /** An answer of the proxy's own, whole; `keep`: it says that the connection stays. */
  protected ownText(text: string, status: number, keep: boolean): void {
    this.keep = keep && this.bodyRead;
    this.status = status;
    this.sentBytes = text.length - text.indexOf("\r\n\r\n") - 4;
    this.link.write(text);
    this.next();
  }
  public cut(): void {
    this.keep = false;
    this.link.reset();
  }
  public tunnel(response: ResponseHead): Link {
    this.keep = false;
    this.status = response.status;
    this.sentBytes = 0;
    this.link.write(responseOut(response, { keep: false, clientMinor: 1, dechunk: false, fields: this.answerFields }));
    return this.link;
  }
  public tunnelEnded(): void {}
  /** There is room again. */
  public onDrain(): void {
    this.link.idle(0);
    this.onRoom?.();
  }

  /** Who takes nothing for so long is given up, ms. */
  protected get takesWithinMs(): number {
    return limits.bodyIdleMs;
  }
  /** The client would send another request here. */
  protected get keeps(): boolean {
    return this.head?.keepAlive === true;
  }
  private sent(free: boolean): void {
    // who takes nothing for so long is given up
    if (!free) this.link.idle(this.takesWithinMs);
  }
}
