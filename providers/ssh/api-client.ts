import { request as httpRequest } from "node:http";
import type { Duplex, Readable } from "node:stream";
import { type ErrorCode, errorCode, errorTable, HcError, messageOf } from "../../daemon/lib/errors.js";
import { apiSocket } from "../../daemon/lib/node-config.js";
import type { Connection } from "../schemas/connection.js";
import { connectionTo } from "./pool.js";

export type Method = "GET" | "PUT" | "POST" | "DELETE" | "HEAD";
export interface ApiOptions { timeoutMs: number; headers?: Record<string, string>; signal?: AbortSignal }
const maxAnswerBytes = 64 * 1024 * 1024;

/** A stream to hcd's Unix socket on the host, forwarded by its sshd (direct-streamlocal@openssh.com, OpenSSH PROTOCOL §2.4). */
async function apiStream(connection: Connection): Promise<{ stream: Duplex; release: () => void }> {
  const pooled = await connectionTo(connection);
  const release = await pooled.place();
  return new Promise((resolve, reject) =>
    pooled.client.openssh_forwardOutStreamLocal(apiSocket(connection.paths), (error, stream) => {
      if (error === undefined) return void resolve({ stream: stream as unknown as Duplex, release });
      release();
      reject(new HcError("UNREACHABLE", `hcd on ${connection.node} does not listen on ${apiSocket(connection.paths)}: ${messageOf(error)}`, { cause: error }));
    }));
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

async function callOne(connection: Connection, method: Method, path: string, body: unknown, options: ApiOptions): Promise<{ status: number; text: string }> {
  const what = `${method} ${path} on ${connection.node}`;
  const { stream, release } = await apiStream(connection);
  try {
    return await new Promise((resolve, reject) => {
      const isStream = typeof (body as Readable | undefined)?.pipe === "function";
      const payload = body === undefined || isStream ? undefined : Buffer.from(JSON.stringify(body));
      const request = httpRequest({
        method, path, createConnection: () => stream as never, signal: options.signal,
        headers: { host: "hcd", connection: "close", ...(payload === undefined ? {} : { "content-type": "application/json", "content-length": payload.length }), ...(isStream ? { "content-type": "application/octet-stream" } : {}), ...options.headers },
      }, (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > maxAnswerBytes) request.destroy(new HcError("LIMIT_EXCEEDED", `${what}: the answer is larger than ${maxAnswerBytes} bytes.`));
          else parts.push(part);
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }));
        response.on("error", reject);
      });
      const timer = setTimeout(() => request.destroy(new HcError("TIMEOUT", `${what} did not end within ${options.timeoutMs} ms.`)), options.timeoutMs);
      request.on("close", () => clearTimeout(timer));
      request.on("error", (cause) => reject(errorCode(cause) === undefined ? new HcError("UNREACHABLE", `${what}: ${messageOf(cause)}`, { cause, retry: "unknown" }) : cause));
      if (isStream) (body as Readable).on("error", (error) => request.destroy(error)).pipe(request);
      else request.end(payload);
    });
  } finally {
    stream.destroy();
    release();
  }
}

const elsewhere = new Set<string>(["UNREACHABLE", "NO_QUORUM"]);

/**
 * One call to the cluster's API through the first host that answers. The next host is tried when one cannot be reached (all calls are
 * idempotent). Errors of hcd come back with their own code. Returns the JSON answer (undefined when it is empty).
 */
export async function apiCall<T>(connections: readonly Connection[], method: Method, path: string, body: unknown, options: ApiOptions): Promise<T> {
  let last: unknown = new HcError("INVALID_INPUT", "The cluster has no hosts.");
  for (const connection of connections) {
    try {
      const { status, text } = await callOne(connection, method, path, body, options);
      if (status >= 400 || status === 0) throw errorOf(status, text, `${method} ${path}`);
      return (text === "" ? undefined : JSON.parse(text)) as T;
    } catch (error) {
      last = error;
      const code = errorCode(error);
      const stream = typeof (body as Readable | undefined)?.pipe === "function"; // it can be read only once
      if (code === undefined || !elsewhere.has(code) || stream) throw error;
    }
  }
  throw last;
}
