import { request } from "node:http";

/** One request to a port of this machine under a site's name. Rejects when nobody listens. */
export function askWeb(port: number, host: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path, headers: { host }, agent: false, timeout: 20_000 }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => { body += text; }).on("end", () => resolve({ status: response.statusCode ?? 0, body })).on("error", reject);
    }).on("timeout", function (this: { destroy(error: Error): void }) { this.destroy(new Error("no answer")); }).on("error", reject).end();
  });
}
