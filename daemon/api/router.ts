import type { IncomingMessage, ServerResponse } from "node:http";
import type { PeerRequest, RouteHandler, RouteRegistry } from "../context.js";
import { errorCode, HcError, messageOf, type ErrorCode } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";

type Method = "GET" | "PUT" | "POST" | "DELETE";
interface Route { method: Method; parts: string[]; handler: RouteHandler }

/** Largest JSON body, bytes. Raw bodies (blobs, streams) are read by their handlers, which have limits of their own. */
export const jsonLimitBytes = 1024 * 1024;

const statusOf: Partial<Record<ErrorCode, number>> = {
  INVALID_INPUT: 400, AUTHENTICATION_FAILED: 403, NOT_FOUND: 404, CONFLICT: 409, ALREADY_EXISTS: 409, LOCKED: 409, POOL_IN_USE: 409, DELETE_GUARD: 409, IMPOSSIBLE_CHANGE: 409, DIVERGED: 409,
  NO_COMMON_SNAPSHOT: 409, PORT_IN_USE: 409, PATH_IN_USE: 409, NOT_HOME: 421, NOT_LEADER: 421, CONFIG_REFUSED: 422, LIMIT_EXCEEDED: 429, UNSUPPORTED: 501, UNREACHABLE: 502, NO_QUORUM: 503, NOT_READY: 503, TIMEOUT: 504,
};
export const httpStatus = (code: ErrorCode): number => statusOf[code] ?? 500;

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent || response.destroyed) return;
  const text = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

export function errorBody(error: unknown): { status: number; body: { error: { code: ErrorCode; message: string; context: Record<string, unknown> } } } {
  const code = errorCode(error) ?? "INTERNAL";
  const context = (error as { context?: Record<string, unknown> }).context ?? {};
  return { status: httpStatus(code), body: { error: { code, message: messageOf(error), context } } };
}

/** Routes by method and pattern (`/v1/units/:id`; a last `*rest` takes what is left), JSON in and out, errors as one shape. */
export class Router implements RouteRegistry {
  private readonly routes: Route[] = [];

  public constructor(private readonly log: Logger, private readonly missing: () => HcError | undefined = () => undefined) {}

  public route(method: Method, pattern: string, handler: RouteHandler): void {
    const parts = pattern.split("/");
    if (this.routes.some((route) => route.method === method && route.parts.join("/") === pattern)) throw new HcError("INTERNAL", `route ${method} ${pattern} is registered twice.`);
    this.routes.push({ method, parts, handler });
  }

  /** Routes registered through the returned registry vanish together (when the node leaves its cluster or starts it anew). */
  public scope(): RouteRegistry & { clear(): void } {
    const mine: Route[] = [];
    return {
      route: (method, pattern, handler) => {
        this.route(method, pattern, handler);
        mine.push(this.routes.at(-1) as Route);
      },
      clear: () => {
        for (const route of mine) this.routes.splice(this.routes.indexOf(route), 1);
        mine.length = 0;
      },
    };
  }

  /** Answers one request; never throws. */
  public async handle(stream: IncomingMessage, response: ServerResponse, from: string): Promise<void> {
    const url = new URL(stream.url ?? "/", "http://hcd");
    const method = stream.method === "HEAD" ? "GET" : (stream.method as Method);
    try {
      const found = this.find(method, url.pathname);
      if (found === undefined) throw this.missing() ?? new HcError("NOT_FOUND", `hcd knows no ${stream.method} ${url.pathname}.`);
      const request: PeerRequest = { from, params: found.params, query: url.searchParams, headers: stream.headers, stream, json: () => readJson(stream) };
      const answer = await found.route.handler(request, response);
      if (answer !== undefined) sendJson(response, 200, answer);
      else if (!response.headersSent && !response.writableEnded) sendJson(response, 200, {});
    } catch (error) {
      const { status, body } = errorBody(error);
      if (status === 500) this.log.error({ err: error, method, path: url.pathname, from }, "request failed");
      else this.log.debug({ code: body.error.code, method, path: url.pathname, from }, "request refused");
      if (response.headersSent) response.destroy();
      else {
        // The rest of an unread body is of no use; the connection ends with the answer.
        if (!stream.complete) response.setHeader("connection", "close");
        sendJson(response, status, body);
      }
    }
  }

  private find(method: Method, path: string): { route: Route; params: Record<string, string> } | undefined {
    const parts = path.split("/");
    for (const route of this.routes) {
      if (route.method !== method) continue;
      const params = match(route.parts, parts);
      if (params !== undefined) return { route, params };
    }
    return undefined;
  }
}

function match(pattern: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  const rest = pattern.at(-1)?.startsWith("*") === true;
  if (rest ? parts.length < pattern.length : parts.length !== pattern.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, part] of pattern.entries()) {
    const seen = parts[index] as string;
    try {
      if (part.startsWith("*")) params[part.slice(1)] = parts.slice(index).map(decodeURIComponent).join("/");
      else if (part.startsWith(":")) {
        if (seen === "") return undefined;
        params[part.slice(1)] = decodeURIComponent(seen);
      } else if (part !== seen) return undefined;
    } catch {
      return undefined; // a broken %-sequence names nothing
    }
  }
  return params;
}

async function readJson(stream: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of stream) {
    size += (part as Buffer).length;
    if (size > jsonLimitBytes) throw new HcError("LIMIT_EXCEEDED", `The body is larger than ${jsonLimitBytes} bytes.`, { retry: "never" });
    parts.push(part as Buffer);
  }
  const text = Buffer.concat(parts).toString("utf8");
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new HcError("INVALID_INPUT", "The body is not JSON.");
  }
}
