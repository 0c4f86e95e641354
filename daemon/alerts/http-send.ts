import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { rootCertificates } from "node:tls";
import { HcError, messageOf } from "../lib/errors.js";

/** For connection, request and answer together, ms. */
export const sendMs = 10_000;

export interface HttpSend { method: "GET" | "POST"; url: string; headers: Readonly<Record<string, string>>; body: string; /** PEM, "" = none. */ ca: string; signal: AbortSignal }

/**
 * One request whose answer's body nobody needs. Follows no redirection: it would send headers with tokens elsewhere. Throws NOT_DELIVERED (any status but 2xx, no connection, too late); the message
 * holds no address, since that may be a secret.
 */
export function httpSend({ method, url, headers, body, ca, signal }: HttpSend): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => reject(new HcError("NOT_DELIVERED", why, { cause }));
    const length: Record<string, number> = body === "" ? {} : { "content-length": Buffer.byteLength(body) };
    const options = { method, headers: { "user-agent": "hybridcluster", ...headers, ...length }, signal: AbortSignal.any([signal, AbortSignal.timeout(sendMs)]), agent: false as const };
    const answered = (response: import("node:http").IncomingMessage): void => {
      const status = response.statusCode ?? 0;
      response.destroy(); // the status says it all, and a body may be endless
      if (status >= 200 && status < 300) resolve();
      else fail(`it answered with status ${status}`);
    };
    const request = url.startsWith("https:") ? httpsRequest(url, { ...options, ...(ca === "" ? {} : { ca: [...rootCertificates, ca] }) }, answered) : httpRequest(url, options, answered);
    request.on("error", (error) => fail(error.name === "TimeoutError" || error.name === "AbortError" ? `no answer within ${sendMs / 1000} s` : messageOf(error), error));
    request.end(body === "" ? undefined : body);
  });
}
