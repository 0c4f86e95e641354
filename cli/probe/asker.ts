import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { messageOf } from "../../daemon/lib/errors.js";
import type { Outcome } from "./tally.js";

export interface AskerOptions {
  url: URL;
  /** Where it is sent, whatever the URL's name resolves to; the name stays in Host and in TLS. */
  address?: string;
  timeoutMs: number;
  /** Accept any certificate. */
  insecure: boolean;
}
/** Most bytes of an answer that are kept: a page is read to its end and thrown away, what the probe site says is short. */
const keptBytes = 4096;
/** Most bytes of a list of records. */
const listBytes = 256 * 1024 * 1024;

/** One client: a kept connection, one request at a time. */
export class Asker {
  private readonly agent: HttpAgent;
  private readonly secure: boolean;
  public constructor(private readonly options: AskerOptions) {
    this.secure = options.url.protocol === "https:";
    this.agent = this.secure ? new HttpsAgent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: !options.insecure }) : new HttpAgent({ keepAlive: true, maxSockets: 1 });
  }

  /** GET, or a write of `id` at the probe site (POST ?add=ID). Never throws: what went wrong is in the outcome. */
  public async ask(id?: string): Promise<Outcome> {
    const [atMs, began] = [Date.now(), performance.now()];
    const done = (rest: Partial<Outcome>): Outcome => ({ atMs, tookMs: performance.now() - began, status: 0, error: "", node: "", epoch: 0, ...rest });
    try {
      const { status, text } = await this.send(id === undefined ? "GET" : "POST", id === undefined ? "" : `add=${id}`, keptBytes);
      const said = sayings(text);
      return done({ status, node: said.node, epoch: said.epoch, ...(id !== undefined && status < 400 && said.id !== id ? { error: "the answer does not name the record" } : {}) });
    } catch (error) {
      return done({ error: reason(error) });
    }
  }
  /** Ids of the records of the probe site, in their order. Throws when it does not tell them. */
  public async list(): Promise<string[]> {
    const { status, text } = await this.send("GET", "list", listBytes);
    const lines = text.split("\n").filter((line) => line !== "");
    if (status !== 200 || lines.some((line) => !/^\d+ \S* \S+$/.test(line))) throw new Error(`${this.options.url.href}: ${status === 200 ? "the answer to ?list is no list of records" : `?list is answered with ${status}`}`);
    return lines.map((line) => line.slice(line.lastIndexOf(" ") + 1));
  }
  public close(): void {
    this.agent.destroy();
  }

  private send(method: string, query: string, most: number): Promise<{ status: number; text: string }> {
    const { url, address, timeoutMs } = this.options;
    const path = `${url.pathname}${url.search}${query === "" ? "" : `${url.search === "" ? "?" : "&"}${query}`}`;
    const name = url.hostname.replace(/^\[|\]$/g, "");
    return new Promise((resolve, reject) => {
      const made = (this.secure ? httpsRequest : httpRequest)({
        host: address ?? (isLoopbackName(name) ? "127.0.0.1" : name), port: url.port === "" ? (this.secure ? 443 : 80) : Number(url.port), method, path, agent: this.agent, headers: { host: url.host, "user-agent": "hc-probe", ...(method === "POST" ? { "content-length": "0" } : {}) },
        ...(this.secure && isIP(name) === 0 ? { servername: name } : {}),
      }, (response) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        response.on("data", (part: Buffer) => {
          if (bytes < most) parts.push(part.subarray(0, most - bytes));
          bytes += part.length;
        });
        response.on("error", fail);
        response.on("end", () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") });
        });
      });
      const fail = (error: Error): void => {
        clearTimeout(timer);
        made.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
      made.on("error", fail).end();
    });
  }
}

/** localhost and all names below it (RFC 6761 §6.3), which not every system's resolver knows. */
const isLoopbackName = (name: string): boolean => /(^|\.)localhost\.?$/.test(name);

/** What the probe site says of itself; others say nothing of this. */
function sayings(text: string): { node: string; epoch: number; id: string } {
  try {
    const { node, epoch, id } = JSON.parse(text) as Record<string, unknown>;
    return { node: typeof node === "string" ? node.slice(0, 64) : "", epoch: typeof epoch === "number" ? epoch : 0, id: typeof id === "string" ? id : "" };
  } catch {
    return { node: "", epoch: 0, id: "" };
  }
}
function reason(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : messageOf(error).slice(0, 200);
}
