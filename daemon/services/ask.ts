import { request } from "node:http";

export interface Question { port: number; host: string; path: string; deadlineMs: number }
/** status 0: no answer; `detail` says why. `known` is false when the default virtual host answered. */
export interface Answer { status: number; detail: string; known: boolean }

/** One GET to Apache on loopback; the body is thrown away. Never throws. */
export function ask({ port, host, path, deadlineMs }: Question): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port, path, method: "GET", headers: { Host: host, "User-Agent": "hcd-check", Connection: "close" }, agent: false, setHost: false }, (response) => {
      clearTimeout(timer);
      resolve({ status: response.statusCode ?? 0, detail: `HTTP ${response.statusCode ?? 0} for http://${host}${path}`, known: response.headers["x-hc-no-site"] === undefined });
      response.destroy();
    });
    const timer = setTimeout(() => asked.destroy(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
    asked.on("error", (error) => {
      clearTimeout(timer);
      resolve({ status: 0, detail: error.message, known: false });
    });
    asked.end();
  });
}
