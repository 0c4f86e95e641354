import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { pipeline } from "node:stream/promises";
import type { Readable } from "node:stream";
import { connect, type PeerCertificate, type TLSSocket } from "node:tls";
import type { Peers } from "../context.js";
import { type ErrorCode, errorTable, HcError, messageOf } from "../lib/errors.js";
import type { ControlTls } from "./control-server.js";
import { jsonLimitBytes } from "./router.js";

export interface PeerAddress { addresses: readonly string[]; port: number }
const CONNECT_MS = 2000;
const ANSWER_LIMIT_BYTES = 16 * 1024 * 1024;
/** As many as a leader asks at once of each of two nodes when a third dies: a new connection costs both sides a handshake. */
const IDLE_KEEP = 16;
const IDLE_KEEP_MS = 30_000;

/** Calls to other nodes' control ports: a verified connection first (addresses in turn), then the request, so that "not reached" and "no answer" are told apart. */
export class PeerClient implements Peers {
  private readonly idle = new Map<string, TLSSocket[]>();

  public constructor(private readonly tls: ControlTls, private readonly where: (node: string) => PeerAddress | undefined) {}

  public close(): void {
    for (const sockets of this.idle.values()) for (const socket of sockets) socket.destroy();
    this.idle.clear();
  }

  public async call<T>(node: string, method: "GET" | "PUT" | "POST" | "DELETE", path: string, body: unknown, options: { timeoutMs: number; signal?: AbortSignal }): Promise<T> {
    const text = body === undefined ? "" : JSON.stringify(body);
    if (Buffer.byteLength(text) > jsonLimitBytes) throw new HcError("LIMIT_EXCEEDED", `The call ${path} to ${node} is larger than ${jsonLimitBytes} bytes.`, { retry: "never" });
    const signal = AbortSignal.any([AbortSignal.timeout(options.timeoutMs), ...(options.signal === undefined ? [] : [options.signal])]);
    const named = (error: unknown): HcError => (options.signal?.aborted === true ? new HcError("ABORTED", `${path} to ${node} was cancelled.`) : signal.aborted ? new HcError("TIMEOUT", `${node} did not answer ${path} within ${options.timeoutMs} ms.`) : asHcError(node, path, error));
    const socket = await this.socket(node, signal).catch((error: unknown) => Promise.reject(named(error)));
    try {
      const response = await this.send(socket, method, path, { "content-type": "application/json", "content-length": String(Buffer.byteLength(text)) }, signal, (req) => void req.end(text));
      const answer = await readAll(response);
      this.keep(node, socket);
      return parseAnswer<T>(node, response, answer);
    } catch (error) {
      if (!isPeerAnswer(error)) socket.destroy();
      throw named(error);
    }
  }

  public async upload<T>(node: string, path: string, headers: Record<string, string>, body: Readable, options: { idleTimeoutMs: number; signal?: AbortSignal }): Promise<T> {
    const signal = options.signal ?? new AbortController().signal;
    const socket = await this.socket(node, signal).catch((error: unknown) => {
      body.destroy();
      throw asHcError(node, path, error);
    });
    socket.setTimeout(options.idleTimeoutMs, () => socket.destroy(new HcError("TIMEOUT", `${node}: ${path}: nothing moved for ${options.idleTimeoutMs} ms.`)));
    try {
      let sent: Promise<void> = Promise.resolve();
      const response = await this.send(socket, "PUT", path, { "transfer-encoding": "chunked", ...headers }, signal, (req) => {
        // A peer that answers early (a refusal) ends the upload; its answer is what counts.
        sent = pipeline(body, req).catch((error: unknown) => {
          if (!req.destroyed || !(req as unknown as { res?: unknown }).res) req.destroy(error as Error);
        });
      });
      const answer = await readAll(response);
      if (response.statusCode !== undefined && response.statusCode >= 400) body.destroy();
      else await sent;
      return parseAnswer<T>(node, response, answer);
    } catch (error) {
      body.destroy();
      if (signal.aborted) throw new HcError("ABORTED", `${path} to ${node} was cancelled.`);
      throw asHcError(node, path, error);
    } finally {
      socket.destroy();
    }
  }

  public async download(node: string, path: string, options: { idleTimeoutMs: number; signal?: AbortSignal }): Promise<Readable> {
    const signal = options.signal ?? new AbortController().signal;
    const socket = await this.socket(node, signal).catch((error: unknown) => Promise.reject(asHcError(node, path, error)));
    socket.setTimeout(options.idleTimeoutMs, () => socket.destroy(new HcError("TIMEOUT", `${node}: ${path}: nothing moved for ${options.idleTimeoutMs} ms.`)));
    try {
      const response = await this.send(socket, "GET", path, {}, signal, (req) => void req.end());
      if (response.statusCode !== 200) parseAnswer(node, response, await readAll(response));
      response.once("close", () => socket.destroy());
      return response;
    } catch (error) {
      socket.destroy();
      throw asHcError(node, path, error);
    }
  }

  private send(socket: TLSSocket, method: string, path: string, headers: Record<string, string>, signal: AbortSignal, write: (req: ReturnType<typeof request>) => void): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const req = request({ method, path, headers: { host: "hcd", connection: "keep-alive", ...headers }, createConnection: () => socket, signal });
      req.once("error", reject);
      req.once("response", resolve);
      write(req);
    });
  }

  /** A connection whose certificate names the node, kept or new; each address gets 2 s. */
  private async socket(node: string, signal: AbortSignal): Promise<TLSSocket> {
    for (let kept = this.idle.get(node)?.pop(); kept !== undefined; kept = this.idle.get(node)?.pop()) {
      if (kept.destroyed || !kept.writable) continue;
      // in use again: a call may be silent for longer than an idle connection is kept
      kept.removeAllListeners("timeout");
      kept.setTimeout(0);
      return kept.ref();
    }
    const where = this.where(node);
    if (where === undefined || where.addresses.length === 0) throw new HcError("NOT_FOUND", `${node} is not a member of this cluster.`);
    let last: unknown;
    for (const address of where.addresses) {
      if (signal.aborted) break;
      try {
        return await this.dial(node, address, where.port, signal);
      } catch (error) {
        last = error;
      }
    }
    throw new HcError("UNREACHABLE", `${node} cannot be reached on ${where.addresses.join(", ")} port ${where.port}: ${messageOf(last ?? "cancelled")}.`, { cause: last });
  }

  private dial(node: string, host: string, port: number, signal: AbortSignal): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({
        host, port, ...this.tls, servername: node, minVersion: "TLSv1.2", timeout: CONNECT_MS,
        checkServerIdentity: (_host: string, cert: PeerCertificate) => (cert.subject.CN === node ? undefined : new Error(`the certificate names ${String(cert.subject.CN)}, not ${node}`)),
      });
      const fail = (error: Error): void => {
        signal.removeEventListener("abort", onAbort);
        socket.destroy();
        reject(error);
      };
      const onAbort = (): void => fail(new Error("cancelled"));
      signal.addEventListener("abort", onAbort, { once: true });
      socket.once("error", fail);
      socket.once("timeout", () => fail(new Error(`no connection within ${CONNECT_MS} ms`)));
      socket.once("secureConnect", () => {
        signal.removeEventListener("abort", onAbort);
        socket.removeAllListeners("timeout");
        socket.off("error", fail);
        socket.on("error", () => undefined); // the request on it gets its own
        socket.setTimeout(0);
        socket.setNoDelay(true);
        resolve(socket);
      });
    });
  }

  private keep(node: string, socket: TLSSocket): void {
    const kept = this.idle.get(node) ?? [];
    if (socket.destroyed || kept.length >= IDLE_KEEP) return void socket.destroy();
    socket.setTimeout(IDLE_KEEP_MS, () => socket.destroy());
    socket.unref();
    kept.push(socket);
    this.idle.set(node, kept);
  }
}

async function readAll(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response) {
    size += (part as Buffer).length;
    if (size > ANSWER_LIMIT_BYTES) throw new HcError("LIMIT_EXCEEDED", "A peer's answer is too large.");
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString("utf8");
}

const peerAnswers = new WeakSet<object>();
const isPeerAnswer = (error: unknown): boolean => typeof error === "object" && error !== null && peerAnswers.has(error);

function parseAnswer<T>(node: string, response: IncomingMessage, text: string): T {
  let value: unknown;
  try {
    value = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw new HcError("INTERNAL", `${node} answered with something that is not JSON (status ${response.statusCode}).`);
  }
  if (response.statusCode !== undefined && response.statusCode < 300) return value as T;
  const told = (value as { error?: { code?: string; message?: string; context?: Record<string, unknown> } } | undefined)?.error;
  const code = told?.code !== undefined && told.code in errorTable ? (told.code as ErrorCode) : "INTERNAL";
  const error = new HcError(code, told?.message ?? `${node} answered with status ${response.statusCode}.`, { context: { ...told?.context, node } });
  peerAnswers.add(error);
  throw error;
}

function asHcError(node: string, path: string, error: unknown): HcError {
  if (error instanceof HcError) return error;
  return new HcError("UNREACHABLE", `${node}: ${path}: ${messageOf(error)}. The act may have happened.`, { cause: error, retry: "transient" });
}
