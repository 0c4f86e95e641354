import { constants, performServerHandshake, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { TLSSocket } from "node:tls";
import { addressOf } from "../lib/networks.js";
import type { Asker } from "./asker.js";
import type { Client } from "./at-peer.js";
import { GatherError, madePlace, withLength } from "./gathering.js";
import { requestOut } from "./heads-out.js";
import { HeadError, listOf, parseRequest, type RequestHead, type ResponseHead } from "./http-head.js";
import { limits } from "./limits.js";
import type { Link } from "./link.js";
import { holdBack, Pace } from "./pace.js";
import { pageParts } from "./pages.js";
import { unitOfHost } from "./routes.js";
import { Run } from "./run.js";
import { sitePolicy } from "./site-policy.js";
import { Spool } from "./spool.js";
import type { Ticked, Ticker } from "./ticker.js";
import { GatheredUpload } from "./uploads.js";
import type { WorkerState } from "./worker-state.js";

/** What HTTP/2 knows no more (RFC 9113 §8.2.2), and what says how a body is framed. */
const connectionFields = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"]);
const plain = /^[^\0\r\n]*$/;

/**
 * Pure: the head of an HTTP/2 request (RFC 9113 §8.3) as one of HTTP/1.1, through the same strict parser: what it refuses there it refuses here. `hasBody`: one follows, of a length that is told or not.
 * Throws HeadError.
 */
export function headOf(headers: IncomingHttpHeaders, hasBody: boolean): RequestHead {
  const { ":method": method = "", ":path": path = "", ":authority": authority, host } = headers;
  if (authority !== undefined && host !== undefined && authority !== host) throw new HeadError(400, "host");
  let text = `${method} ${path} HTTP/1.1\r\nHost: ${authority ?? host ?? ""}\r\n`;
  if (!plain.test(`${method}${path}${authority ?? host ?? ""}`)) throw new HeadError(400, "request line");
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(":") || name === "host" || connectionFields.has(name) || (name === "content-length" && !hasBody && value === "0")) continue;
    for (const one of Array.isArray(value) ? value : [value ?? ""]) {
      if (!plain.test(one)) throw new HeadError(400, "field value");
      text += `${name}: ${one}\r\n`;
    }
  }
  if (hasBody && headers["content-length"] === undefined) text += "Transfer-Encoding: chunked\r\n";
  return parseRequest(Buffer.from(`${text}\r\n`, "latin1"));
}
/** Pure: the fields of an answer as HTTP/2 takes them. */
export function fieldsOut(response: ResponseHead): OutgoingHttpHeaders {
  const named = new Set(listOf(response.fields, "connection"));
  const fields: OutgoingHttpHeaders = { ":status": response.status > 599 ? 502 : response.status };
  for (const { lower, value } of response.fields) {
    if (connectionFields.has(lower) || lower === "http2-settings" || named.has(lower) || (lower === "content-length" && response.framing.kind === "chunked")) continue;
    const before = fields[lower];
    // several of one name are one list (RFC 9110 §5.3), but for Set-Cookie; said twice is said once
    if (before === undefined) fields[lower] = value;
    else if (lower === "set-cookie") fields[lower] = [...(Array.isArray(before) ? before : [String(before)]), value];
    else if (before !== value) fields[lower] = `${String(before)}, ${value}`;
  }
  return fields;
}

/** One connection that has agreed on HTTP/2. Its streams are requests as any other's. */
export function http2Session(worker: WorkerState, socket: TLSSocket, address = addressOf(socket)): void {
  const session: ServerHttp2Session = performServerHandshake(socket, {
    maxSessionMemory: 4,
    maxHeaderListPairs: 128,
    settings: { maxConcurrentStreams: limits.streamsPerConnection, maxHeaderListSize: 32 * 1024, initialWindowSize: 256 * 1024, enablePush: false },
  });
  const client: Client = { address, proto: "https", socket };
  const known = { close: () => session.close(), destroy: () => void socket.destroy() };
  worker.sessions.add(known);
  let streams = 0;
  // GOAWAY; what runs goes on. Who does not close then is closed
  session.setTimeout(limits.keepAliveMs, () => {
    session.close();
    if (streams === 0) setTimeout(() => void (streams === 0 && socket.destroy()), limits.lingerMs).unref();
  });
  const ending = new Ending(worker.ticker, session, socket);
  worker.ticker.add(ending);
  socket.once("close", () => worker.ticker.delete(ending));
  session.on("close", () => worker.sessions.delete(known));
  session.on("error", () => session.destroy());
  session.on("stream", (stream, headers, flags) => {
    streams += 1;
    stream.once("close", () => {
      streams -= 1;
    });
    new Http2Asker(worker, stream, client, socket).take(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0);
  });
}

/** Node ends its side of a session that is over, and waits for its client's for ever; the session tells nobody before that ("close" comes with the end of the connection). */
class Ending implements Ticked {
  private dueTick = Number.POSITIVE_INFINITY;

  public constructor(private readonly ticker: Ticker, private readonly session: ServerHttp2Session, private readonly socket: TLSSocket) {}
  public look(now: number): void {
    if (!this.session.destroyed) return;
    this.dueTick = Math.min(this.dueTick, now + this.ticker.ticks(this.socket.writableFinished ? limits.lingerMs : limits.lastBytesMs));
    if (now > this.dueTick) this.destroy();
  }
  public destroy(): void {
    this.socket.destroy();
  }
}

/** One request of a connection: its body is taken whole, then it runs. */
class Http2Asker implements Asker {
  public readonly dechunks = true;
  public blocked = false;
  public onRoom: (() => void) | undefined;
  private run: Run | undefined;
  private spool: Spool | undefined;
  private hsts = "";
  private refusedAlready = false;
  private head: RequestHead | undefined;
  /** Its unit, where the request is to be logged. */
  private logged: string | undefined;
  private beganMs = 0;
  private status = 0;
  private sentBytes = 0;
  private over = false;
  /** Nothing moved for too long. */
  private onOverdue: () => void = () => this.giveUp();

  public constructor(private readonly worker: WorkerState, private readonly stream: ServerHttp2Stream, private readonly client: Client, private readonly socket: TLSSocket) {
    stream.on("error", () => undefined); // close follows
    stream.on("close", () => this.gone());
    stream.on("timeout", () => this.onOverdue());
    stream.on("drain", () => {
      this.blocked = false;
      stream.setTimeout(0);
      this.onRoom?.();
    });
  }
  public take(headers: IncomingHttpHeaders, hasBody: boolean): void {
    let head: RequestHead;
    try {
      head = headOf(headers, hasBody);
    } catch (error) {
      return void this.page(error instanceof HeadError ? error.status : 400);
    }
    const { table } = this.worker.routes;
    const unit = table === undefined ? undefined : unitOfHost(table, head.host);
    if (table === undefined || unit === undefined) return void this.page(table === undefined ? 503 : 404);
    this.head = head;
    if (this.worker.logs(unit)) {
      this.logged = unit;
      this.beganMs = performance.now();
    }
    const policy = sitePolicy({ table, unit, head, proto: "https", certificates: this.worker.tls, challenges: {} });
    if ("status" in policy) return void this.page(policy.status);
    this.hsts = /^Strict-Transport-Security: (.*)\r\n$/.exec(policy.fields)?.[1] ?? "";
    if (hasBody) this.gather(unit, head);
    else this.dispatch(unit, head);
  }

  public get writing(): boolean {
    return this.stream.writableLength > 0;
  }
  public interim(): void {
    // 103 would help nobody here: the stream's head must be its last one
  }
  public begin(response: ResponseHead, first: Buffer): void {
    if (this.over || this.ended) return;
    this.status = response.status;
    this.stream.respond({ ...fieldsOut(response), ...(this.hsts === "" ? {} : { "strict-transport-security": this.hsts }) }, { endStream: false });
    this.body(first);
  }
  public body(bytes: Buffer): void {
    if (this.over || bytes.length === 0) return;
    this.sentBytes += bytes.length;
    if (this.stream.write(bytes)) return;
    this.blocked = true;
    this.stream.setTimeout(limits.bodyIdleMs);
  }
  public end(): void {
    if (this.over) return;
    this.lastBytes();
    this.stream.end();
  }
  public own(status: number): void {
    this.page(status);
  }
  public cut(): void {
    this.gone();
    this.stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }
  /** A client whose window stays shut gets the reset of its stream; one that reads nothing at all gets no frame either, and its connection ends. */
  private giveUp(): void {
    this.cut();
    setTimeout(() => void (this.stream.destroyed || this.socket.destroy()), limits.lingerMs).unref();
  }
  /** The rest of the answer is with the stream: what it was asked with is let go, and nobody waits for ever until its client takes it. */
  private lastBytes(): void {
    this.spool?.close();
    this.onOverdue = () => this.giveUp();
    this.stream.setTimeout(limits.bodyIdleMs);
  }
  public tunnel(): Link {
    throw new Error("HTTP/2 has no tunnel here");
  }
  public tunnelEnded(): void {}

  private gather(unit: string, head: RequestHead): void {
    const { stream, worker } = this;
    const spool = new Spool(worker.spoolRoom);
    const pace = new Pace(spool);
    this.spool = spool;
    if (head.expectContinue && !this.ended) stream.additionalHeaders({ ":status": 100 });
    stream.setTimeout(limits.bodyIdleMs);
    this.onOverdue = () => this.refused(unit, new GatherError(408, "the body came too slowly"));
    stream.on("data", (bytes: Buffer) => {
      if (this.over || this.refusedAlready) return;
      if (!spool.append(bytes)) return this.refused(unit, new GatherError(spool.error === undefined && spool.size >= worker.spoolRoom.diskPerRequest ? 413 : 503, "there is no room for its body"));
      if (pace.isTooSlow()) return this.refused(unit, madePlace());
      holdBack(spool, pace, { pause: () => void stream.pause(), resume: () => void stream.resume() });
    });
    stream.on("end", () => {
      // a stream that was reset ends too, before it closes
      if (this.over || this.refusedAlready || this.ended || stream.aborted) return;
      stream.setTimeout(0);
      this.onOverdue = () => this.giveUp();
      if (head.framing.kind === "length" && head.framing.bytes !== spool.size) return this.refused(unit, new GatherError(400, "its body is not as long as it says"));
      this.dispatch(unit, withLength(head, spool.size), spool.size === 0 ? undefined : new GatheredUpload(spool));
    });
  }
  private refused(unit: string, { status, message }: GatherError): void {
    if (this.over || this.refusedAlready) return;
    this.refusedAlready = true;
    this.spool?.close();
    this.worker.error(unit, message);
    this.worker.count(unit, status);
    this.page(status);
    // nobody reads the rest (RFC 9113 §8.1)
    this.stream.once("finish", () => this.stream.close(constants.NGHTTP2_NO_ERROR));
  }
  private dispatch(unit: string, head: RequestHead, upload?: GatheredUpload): void {
    this.run = new Run(this.worker, unit, { asker: this, head, headOut: requestOut(head, this.client), upload }, this.client);
    this.run.start();
  }
  private page(status: number): void {
    if (this.over || this.ended || this.stream.headersSent) return;
    const { fields, body } = pageParts(status);
    this.status = status;
    this.sentBytes = this.head?.method === "HEAD" ? 0 : Buffer.byteLength(body);
    this.lastBytes();
    this.stream.respond({ ":status": status, ...Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value])) });
    this.stream.end(body);
  }
  private record(): void {
    const { logged, head, run, status } = this;
    if (logged === undefined || head === undefined) return;
    this.worker.visited(logged, { client: this.client, head, version: "HTTP/2.0", status, bytes: this.sentBytes, beganMs: this.beganMs, run });
  }
  /** Nothing can be said any more. */
  private get ended(): boolean {
    return this.stream.closed || this.stream.destroyed;
  }
  private gone(): void {
    if (this.over) return;
    this.over = true;
    this.record();
    this.run?.abort();
    this.spool?.close();
  }
}
