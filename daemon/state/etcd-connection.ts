import { Agent, type RequestOptions, request } from "node:https";
import type { IncomingMessage } from "node:http";
import type { PeerCertificate } from "node:tls";
import { HcError, messageOf } from "../lib/errors.js";

/** One address of one etcd member. `node` is the common name that its certificate must show. */
export interface EtcdEndpoint { node: string; address: string; port: number }
export interface EtcdTls { ca: string; cert: string; key: string }

const ANSWER_LIMIT_BYTES = 64 * 1024 * 1024;

/** What went wrong with one try at one endpoint, and whether etcd can have run the request. */
export class TryFailed extends Error {
  public constructor(message: string, public readonly notRun: boolean, public readonly grpcCode: number | undefined, public readonly timedOut: boolean) {
    super(message);
    this.name = "TryFailed";
  }
}

const neverConnected = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN", "EADDRNOTAVAIL"]);
/** Refusals of etcd 3.4 that say the request was not proposed (etcdserver/api/v3rpc/rpctypes/error.go). "server stopped" is none: a member that stops says so of requests that it has proposed too (v3_server.go, processInternalRaftRequestOnce). */
const notProposed = /no leader|not capable|learner|not started|leader transferee/i;

/** HTTPS to etcd's JSON gateway: mutual TLS, kept-alive connections, the server known by the name in its certificate (addresses may change). */
export class EtcdConnection {
  private readonly agents = new Map<string, Agent>();

  public constructor(private readonly tls: EtcdTls) {}

  public close(): void {
    for (const agent of this.agents.values()) agent.destroy();
    this.agents.clear();
  }

  /** One request, one endpoint, one deadline. Throws TryFailed. */
  public post(endpoint: EtcdEndpoint, path: string, body: unknown, timeoutMs: number, signal?: AbortSignal): Promise<Record<string, unknown>> {
    return this.send(endpoint, "POST", path, JSON.stringify(body), timeoutMs, signal).then((text) => JSON.parse(text) as Record<string, unknown>);
  }

  public getText(endpoint: EtcdEndpoint, path: string, timeoutMs: number): Promise<string> {
    return this.send(endpoint, "GET", path, "", timeoutMs);
  }

  private send(endpoint: EtcdEndpoint, method: string, path: string, text: string, timeoutMs: number, signal?: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const req = request({ ...this.options(endpoint, method, path), headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) } });
      let connected = false;
      let done = false;
      const fail = (error: TryFailed): void => {
        if (done) return;
        done = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        req.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new TryFailed(`no answer within ${timeoutMs} ms`, !connected, undefined, true)), timeoutMs);
      const onAbort = (): void => fail(new TryFailed("cancelled", false, undefined, false));
      if (signal?.aborted) return void onAbort();
      signal?.addEventListener("abort", onAbort, { once: true });
      req.on("socket", (socket) => {
        if (req.reusedSocket) connected = true;
        else socket.once("secureConnect", () => (connected = true));
      });
      req.on("error", (error: NodeJS.ErrnoException) => fail(new TryFailed(error.message, !connected || neverConnected.has(error.code ?? ""), undefined, false)));
      req.on("response", (response) => {
        const parts: Buffer[] = [];
        let size = 0;
        response.on("data", (part: Buffer) => {
          size += part.length;
          if (size > ANSWER_LIMIT_BYTES) fail(new TryFailed("the answer is too large", false, undefined, false));
          else parts.push(part);
        });
        response.on("error", (error) => fail(new TryFailed(error.message, false, undefined, false)));
        response.on("end", () => {
          if (done) return;
          const answer = Buffer.concat(parts).toString("utf8");
          if (response.statusCode !== 200) return void fail(refusal(response, answer));
          done = true;
          clearTimeout(timer);
          signal?.removeEventListener("abort", onAbort);
          resolve(answer);
        });
      });
      req.end(text);
    });
  }

  /** A call whose answer is a stream of JSON lines (watch). `idleMs` without a byte ends it, from the first moment on. */
  public stream(endpoint: EtcdEndpoint, path: string, body: unknown, idleMs: number, onLine: (line: Record<string, unknown>) => void, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const req = request({ ...this.options(endpoint, "POST", path), agent: false, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) } });
      const onAbort = (): void => void req.destroy(new Error("cancelled"));
      // Not the socket's own timer: that one begins only when it is connected, and a dead host may never refuse.
      let idle: NodeJS.Timeout | undefined;
      const alive = (): void => {
        clearTimeout(idle);
        idle = setTimeout(() => req.destroy(new Error(`silent for ${idleMs} ms`)), idleMs);
      };
      const finish = (error?: Error): void => {
        clearTimeout(idle);
        signal.removeEventListener("abort", onAbort);
        req.destroy();
        if (error === undefined) resolve();
        else reject(error);
      };
      if (signal.aborted) return void finish();
      signal.addEventListener("abort", onAbort, { once: true });
      alive();
      req.on("error", finish);
      req.on("response", (response) => {
        let rest = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          alive();
          const lines = (rest + part).split("\n");
          rest = lines.pop() ?? "";
          try {
            for (const line of lines) if (line.trim() !== "") onLine(JSON.parse(line) as Record<string, unknown>);
          } catch (error) {
            finish(error as Error);
          }
        });
        response.on("error", finish);
        response.on("end", () => finish());
      });
      req.end(text);
    });
  }

  private options(endpoint: EtcdEndpoint, method: string, path: string): RequestOptions {
    const name = `${endpoint.address}:${endpoint.port}`;
    let agent = this.agents.get(name);
    if (agent === undefined) {
      agent = new Agent({ keepAlive: true, maxSockets: 16, maxFreeSockets: 4 });
      this.agents.set(name, agent);
    }
    return {
      host: endpoint.address, port: endpoint.port, method, path, agent, ...this.tls, servername: endpoint.node, minVersion: "TLSv1.2",
      checkServerIdentity: (_host: string, cert: PeerCertificate) => (cert.subject.CN === endpoint.node ? undefined : new Error(`the certificate names ${String(cert.subject.CN)}, not ${endpoint.node}`)),
    };
  }
}

function refusal(response: IncomingMessage, answer: string): TryFailed {
  let message = answer.slice(0, 500);
  let code: number | undefined;
  try {
    const parsed = JSON.parse(answer) as { error?: string; message?: string; code?: number };
    message = parsed.message ?? parsed.error ?? message;
    code = parsed.code;
  } catch {
    // not the gateway's JSON: the text itself is the message
  }
  return new TryFailed(`HTTP ${response.statusCode}: ${message}`, notProposed.test(message), code, false);
}

/** gRPC codes: 4 deadline exceeded, 14 unavailable (no leader, request timed out), 8 resource exhausted (quota), 3 invalid, 9 precondition, 11 out of range. */
export function etcdError(what: string, error: unknown): HcError {
  if (!(error instanceof TryFailed)) return new HcError("INTERNAL", `etcd: ${what}: ${messageOf(error)}`, { cause: error });
  if (error.grpcCode === 8) return new HcError("LIMIT_EXCEEDED", `etcd: ${what}: ${error.message}. Its database is full or it has too many requests: look at \`hc status\`.`, { cause: error });
  if (error.grpcCode === undefined || error.grpcCode === 4 || error.grpcCode === 14 || error.notRun) return new HcError("NO_QUORUM", `etcd: ${what}: ${error.message}.`, { cause: error });
  return new HcError("INTERNAL", `etcd: ${what}: ${error.message}.`, { cause: error });
}
