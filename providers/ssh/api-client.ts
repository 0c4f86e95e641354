import { type ClientRequest, request as httpRequest } from "node:http";
import type { Duplex, Readable } from "node:stream";
import { delay, withDeadline } from "../../daemon/lib/abort.js";
import { type ErrorCode, errorCode, errorTable, HcError, messageOf } from "../../daemon/lib/errors.js";
import { apiSocket } from "../../daemon/lib/node-config.js";
import type { Connection } from "../schemas/connection.js";
import { connectionTo } from "./pool.js";

export type Method = "GET" | "PUT" | "POST" | "DELETE" | "HEAD";
export interface ApiOptions { timeoutMs: number; headers?: Record<string, string>; signal?: AbortSignal }
const maxAnswerBytes = 64 * 1024 * 1024;

/** A stream to hcd's Unix socket on the host, forwarded by its sshd (direct-streamlocal@openssh.com, OpenSSH PROTOCOL §2.4). */
async function apiStream(connection: Connection): Promise<{ stream: Duplex; release: () => void; /** Why the connection below is over, "" while it is not. */ ended: () => string }> {
  const pooled = await connectionTo(connection);
  const release = await pooled.place();
  const opened = new Promise<Duplex>((resolve, reject) => {
    const refuse = (cause: unknown): void => reject(new HcError("UNREACHABLE", `hcd on ${connection.node} does not listen on ${apiSocket(connection.paths)}: ${messageOf(cause)}`, { cause }));
    try {
      pooled.client.openssh_forwardOutStreamLocal(apiSocket(connection.paths), (error, stream) => (error === undefined ? resolve(stream as unknown as Duplex) : refuse(error)));
    } catch (cause) {
      refuse(cause); // "Not connected" is thrown
    }
  });
  try {
    return { stream: await withDeadline(10_000, `a channel to ${connection.node}`, () => opened), release, ended: () => pooled.ended };
  } catch (error) {
    release();
    throw error;
  }
}

function errorOf(status: number, text: string, what: string): HcError {
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string; context?: Record<string, unknown> } };
    if (error.code in errorTable) return new HcError(error.code as ErrorCode, error.message, { context: error.context ?? {} });
  } catch {
    // not our own form
  }
  return new HcError("INTERNAL", `${what}: status ${status}: ${text.slice(0, 300)}`);
}

type Payload = { headers: Record<string, string | number>; send: (request: ClientRequest, fail: (error: Error) => void) => void };
function payloadOf(body: unknown): Payload {
  if (body === undefined) return { headers: {}, send: (request) => void request.end() };
  if (isStream(body)) return { headers: { "content-type": "application/octet-stream" }, send: (request, fail) => void body.on("error", fail).pipe(request) };
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  return { headers: { "content-type": Buffer.isBuffer(body) ? "application/octet-stream" : "application/json", "content-length": bytes.length }, send: (request) => void request.end(bytes) };
}
const isStream = (body: unknown): body is Readable => typeof (body as Readable | undefined)?.pipe === "function";

async function callOne(connection: Connection, method: Method, path: string, body: unknown, options: ApiOptions): Promise<{ status: number; text: string }> {
  const what = `${method} ${path} on ${connection.node}`;
  const { stream, release, ended } = await apiStream(connection);
  const payload = payloadOf(body);
  try {
    return await new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        reject(errorCode(cause) === undefined ? new HcError("UNREACHABLE", `${what}: ${messageOf(cause)}; ${ended() === "" ? "hcd closed the connection" : `the SSH connection is over: ${ended()}`}`, { cause, retry: "unknown" }) : cause);
        stream.destroy();
      };
      stream.on("error", fail);
      const timer = setTimeout(() => fail(new HcError("TIMEOUT", `${what} did not end within ${options.timeoutMs} ms.`)), options.timeoutMs);
      const onAbort = (): void => fail(new HcError("ABORTED", `${what}: cancelled.`));
      options.signal?.addEventListener("abort", onAbort, { once: true });
      const request = httpRequest({ method, path, createConnection: () => stream as never, headers: { host: "hcd", connection: "close", ...payload.headers, ...options.headers } }, (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > maxAnswerBytes) fail(new HcError("LIMIT_EXCEEDED", `${what}: the answer is larger than ${maxAnswerBytes} bytes.`));
          else parts.push(part);
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }));
        response.on("error", fail);
      });
      request.on("error", fail).on("close", () => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", onAbort);
      });
      if (options.signal?.aborted) onAbort();
      else payload.send(request, fail);
    });
  } finally {
    stream.on("error", () => undefined).destroy();
    release();
  }
}

const elsewhere = new Set<string>(["UNREACHABLE", "NO_QUORUM", "NOT_READY"]);
/** A host that is not connected after this time gets company: a dead first host costs a second, not its whole time-out (cf. RFC 8305 §5), ms. */
const headStartMs = 1_000;

/** The hosts as they can be reached: in their order, but the next one is tried too when one takes long. Each comes once, or with why it could not be reached. */
async function* inReach(connections: readonly Connection[]): AsyncGenerator<{ connection: Connection; error?: unknown }> {
  const waiting = [...connections];
  const trying = new Map<Connection, Promise<{ connection: Connection; error?: unknown }>>();
  while (waiting.length > 0 || trying.size > 0) {
    const next = waiting.shift();
    if (next !== undefined) trying.set(next, connectionTo(next).then(() => ({ connection: next }), (error: unknown) => ({ connection: next, error })));
    const patience = new AbortController();
    const late = waiting.length === 0 ? [] : [delay(headStartMs, patience.signal).then(() => undefined, () => undefined)];
    const first = await Promise.race([...trying.values(), ...late]);
    patience.abort();
    if (first === undefined) continue;
    trying.delete(first.connection);
    yield first;
  }
}

/**
 * One call to the cluster's API through the first host that answers. The next host is tried when one cannot be reached or is just starting (all calls are
 * idempotent). Errors of hcd come back with their own code. Returns the JSON answer (undefined when it is empty).
 */
export async function apiCall<T>(connections: readonly Connection[], method: Method, path: string, body: unknown, options: ApiOptions): Promise<T> {
  let last: unknown;
  for await (const { connection, error: unreached } of inReach(connections)) {
    try {
      if (unreached !== undefined) throw unreached;
      const { status, text } = await callOne(connection, method, path, body, options);
      if (status >= 400 || status === 0) throw errorOf(status, text, `${method} ${path}`);
      return (text === "" ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      const code = errorCode(error);
      // a host that answered knows better why it cannot be done than one that is not there
      if (last === undefined || code !== "UNREACHABLE" || errorCode(last) === "UNREACHABLE") last = error;
      if (code === undefined || !elsewhere.has(code) || isStream(body)) throw error; // a stream can be read only once
    }
  }
  throw last ?? new HcError("INVALID_INPUT", "The cluster has no hosts.");
}
