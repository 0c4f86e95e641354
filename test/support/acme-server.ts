import "reflect-metadata";
import { createHash, createPublicKey, type JsonWebKey, randomBytes, verify } from "node:crypto";
import { get, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import * as x509 from "@peculiar/x509";
import type { TestCa } from "./certificates.js";

interface Authorization { name: string; status: "pending" | "valid" | "invalid"; token: string; error?: object }
interface Order { account: string; status: string; names: string[]; authorizations: string[]; chain: string; error?: object }
class Problem extends Error {
  public constructor(public readonly status: number, public readonly type: string, detail: string, public readonly retryAfterS = 0) {
    super(detail);
  }
}
export interface AcmeServerOptions {
  ca: TestCa;
  /** Where the host name is looked for over HTTP; undefined: no such name. */
  resolve(name: string): { host: string; port: number } | undefined;
  nowMs?(): number;
  address?: string;
}

/**
 * An ACME CA for tests (RFC 8555) with the strictness that matters: signatures, nonces that hold once, the address within the signature, POST-as-GET, HTTP-01 that is really fetched, requests for certificates that are read and
 * verified. Faults on demand.
 */
export class AcmeServer {
  public readonly orders: Order[] = [];
  public readonly accounts = new Map<string, JsonWebKey>();
  /** Faults: nonces to refuse; new orders to refuse as rate-limited, with this Retry-After; what a certificate's time begins after now; polls that see "processing". */
  public badNonces = 0;
  public limited: { times: number; retryAfterS: number } = { times: 0, retryAfterS: 0 };
  public beginsInMs = -60_000;
  public lifeMs = 90 * 86_400_000;
  public processing = 0;
  /** Called with each request's path, before it is answered. */
  public onRequest: (path: string) => void | Promise<void> = () => undefined;
  public readonly asked: string[] = [];
  private readonly nonces = new Set<string>();
  private readonly authorizations: Authorization[] = [];
  private server: Server | undefined;
  public url = "";

  public constructor(private readonly options: AcmeServerOptions) {}
  public get directory(): string {
    return `${this.url}/directory`;
  }

  public async start(): Promise<this> {
    const address = this.options.address ?? "127.0.0.1";
    const { chain, key } = await this.options.ca.issue([address]);
    const server = createServer({ cert: chain, key }, (request, response) => void this.handle(request, response));
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    this.server = server;
    this.url = `https://${address}:${(server.address() as { port: number }).port}`;
    return this;
  }
  public async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((resolve) => this.server?.close(resolve));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    const nonce = randomBytes(12).toString("base64url");
    this.nonces.add(nonce);
    response.setHeader("replay-nonce", nonce);
    response.setHeader("cache-control", "no-store");
    this.asked.push(path);
    try {
      await this.onRequest(path);
      let body = "";
      for await (const part of request) body += String(part);
      if (path === "/directory") return this.send(response, 200, { newNonce: `${this.url}/nonce`, newAccount: `${this.url}/account`, newOrder: `${this.url}/order`, meta: { termsOfService: `${this.url}/terms` } });
      if (path === "/nonce") return void response.writeHead(request.method === "HEAD" ? 200 : 204).end();
      if (request.method !== "POST" || request.headers["content-type"] !== "application/jose+json") throw new Problem(415, "malformed", "not a POST of application/jose+json");
      const { account, jwk, payload } = this.verify(body, path);
      await this.answer(response, path, account, jwk, payload);
    } catch (error) {
      const { status, type, message, retryAfterS } = error instanceof Problem ? error : new Problem(500, "serverInternal", String(error));
      if (retryAfterS > 0) response.setHeader("retry-after", String(retryAfterS));
      this.send(response, status, { type: `urn:ietf:params:acme:error:${type}`, detail: message }, "application/problem+json");
    }
  }

  /** RFC 8555 §6.2 to §6.5. */
  private verify(body: string, path: string): { account: string; jwk: JsonWebKey; payload: Record<string, unknown> | undefined } {
    const jws = JSON.parse(body) as { protected: string; payload: string; signature: string };
    const header = JSON.parse(Buffer.from(jws.protected, "base64url").toString()) as { alg: string; nonce: string; url: string; kid?: string; jwk?: JsonWebKey };
    if (header.url !== `${this.url}${path}`) throw new Problem(401, "unauthorized", "the signature is for another address");
    if ((header.kid === undefined) === (header.jwk === undefined) || (header.jwk !== undefined) !== (path === "/account")) throw new Problem(400, "malformed", "kid or jwk");
    const jwk = header.jwk ?? this.accounts.get(header.kid ?? "");
    if (jwk === undefined) throw new Problem(400, "accountDoesNotExist", "no such account");
    if (header.alg !== "ES256") throw new Problem(400, "badSignatureAlgorithm", "ES256 only");
    if (!verify("sha256", Buffer.from(`${jws.protected}.${jws.payload}`), { key: createPublicKey({ key: jwk, format: "jwk" }), dsaEncoding: "ieee-p1363" }, Buffer.from(jws.signature, "base64url"))) throw new Problem(400, "malformed", "signature");
    if (!this.nonces.delete(header.nonce) || this.badNonces > 0) {
      this.badNonces -= 1;
      throw new Problem(400, "badNonce", "nonce");
    }
    return { account: header.kid ?? "", jwk, payload: jws.payload === "" ? undefined : (JSON.parse(Buffer.from(jws.payload, "base64url").toString()) as Record<string, unknown>) };
  }

  private async answer(response: ServerResponse, path: string, account: string, jwk: JsonWebKey, payload: Record<string, unknown> | undefined): Promise<void> {
    const [, kind = "", id = ""] = path.split("/");
    if (path === "/account") {
      const known = [...this.accounts].find(([, key]) => thumbprint(key) === thumbprint(jwk))?.[0];
      if (known === undefined && payload?.["termsOfServiceAgreed"] !== true) throw new Problem(403, "userActionRequired", "agree to the terms");
      const url = known ?? `${this.url}/account/${this.accounts.size}`;
      this.accounts.set(url, jwk);
      response.setHeader("location", url);
      return this.send(response, known === undefined ? 201 : 200, { status: "valid" });
    }
    if (kind === "account") return this.send(response, 200, { status: "valid" });
    if (path === "/order") return this.begin(response, account, payload);
    if (kind === "authorization" || kind === "challenge") {
      const found = this.authorizations[Number(id)];
      if (found === undefined) throw new Problem(404, "malformed", "no such authorization");
      if (kind === "challenge" && payload !== undefined && found.status === "pending") await this.validate(found, jwk);
      const challenge = { type: "http-01", url: `${this.url}/challenge/${id}`, token: found.token, status: found.status, ...(found.error === undefined ? {} : { error: found.error }) };
      return this.send(response, 200, kind === "challenge" ? challenge : { status: found.status, identifier: { type: "dns", value: found.name }, challenges: [{ type: "dns-01", url: `${this.url}/none`, token: "x", status: "pending" }, challenge] });
    }
    const order = this.orders[Number(id)];
    if (order === undefined || order.account !== account) throw new Problem(404, "malformed", "no such order");
    if (kind === "finalize") await this.finalize(order, payload);
    else if (kind === "certificate") {
      response.writeHead(200, { "content-type": "application/pem-certificate-chain" }).end(order.chain);
      return;
    } else if (kind !== "order") throw new Problem(404, "malformed", "no such thing");
    this.send(response, 200, this.view(order, Number(id)));
  }

  private begin(response: ServerResponse, account: string, payload: Record<string, unknown> | undefined): void {
    if (this.limited.times > 0) {
      this.limited.times -= 1;
      throw new Problem(429, "rateLimited", "too many new orders recently", this.limited.retryAfterS);
    }
    const names = ((payload?.["identifiers"] ?? []) as { value: string }[]).map(({ value }) => value);
    const authorizations = names.map((name) => `${this.url}/authorization/${this.authorizations.push({ name, status: "pending", token: randomBytes(24).toString("base64url") }) - 1}`);
    const id = this.orders.push({ account, status: "pending", names, authorizations, chain: "" }) - 1;
    response.setHeader("location", `${this.url}/order/${id}`);
    this.send(response, 201, this.view(this.orders[id] as Order, id));
  }

  /** RFC 8555 §8.3: the token is really fetched. */
  private async validate(found: Authorization, jwk: JsonWebKey): Promise<void> {
    const at = this.options.resolve(found.name);
    const path = `/.well-known/acme-challenge/${found.token}`;
    const seen = at === undefined ? "no address" : await new Promise<string>((resolve) => {
      get({ host: at.host, port: at.port, path, headers: { host: found.name }, agent: false, timeout: 5_000 }, (response) => {
        let text = "";
        response.on("data", (part: Buffer) => {
          text += part.toString();
        });
        response.on("end", () => resolve(response.statusCode === 200 ? text.trimEnd() : `status ${response.statusCode}`));
      }).on("error", (error) => resolve(error.message));
    });
    found.status = seen === `${found.token}.${thumbprint(jwk)}` ? "valid" : "invalid";
    if (found.status === "invalid") found.error = { type: "urn:ietf:params:acme:error:unauthorized", detail: `Invalid response from http://${found.name}${path}: ${seen.slice(0, 100)}` };
    for (const order of this.orders) {
      if (order.status !== "pending") continue;
      const mine = order.authorizations.map((url) => this.authorizations[Number(url.split("/").at(-1))]?.status);
      if (mine.includes("invalid")) order.status = "invalid";
      else if (mine.every((status) => status === "valid")) order.status = "ready";
    }
  }

  private async finalize(order: Order, payload: Record<string, unknown> | undefined): Promise<void> {
    if (order.status !== "ready") throw new Problem(403, "orderNotReady", `the order is ${order.status}`);
    const csr = new x509.Pkcs10CertificateRequest(Buffer.from(String(payload?.["csr"]), "base64url"));
    const names = (csr.getExtension("2.5.29.17") as x509.SubjectAlternativeNameExtension | null)?.names.items.map(({ value }) => value) ?? [];
    if (!(await csr.verify()) || names.join() !== order.names.join()) throw new Problem(400, "badCSR", `it is for ${names.join()}`);
    const nowMs = this.options.nowMs?.() ?? Date.now();
    order.chain = this.options.ca.chainOf(await this.options.ca.sign(csr.publicKey, names, new Date(nowMs + this.beginsInMs), new Date(nowMs + this.beginsInMs + this.lifeMs)));
    order.status = "processing";
  }

  private view(order: Order, id: number): object {
    if (order.status === "processing") {
      if (this.processing > 0) this.processing -= 1;
      else order.status = "valid";
    }
    return { status: order.status, identifiers: order.names.map((value) => ({ type: "dns", value })), authorizations: order.authorizations, finalize: `${this.url}/finalize/${id}`, ...(order.status === "valid" ? { certificate: `${this.url}/certificate/${id}` } : {}) };
  }
  private send(response: ServerResponse, status: number, body: object, type = "application/json"): void {
    response.writeHead(status, { "content-type": type }).end(JSON.stringify(body));
  }
}

/** RFC 7638. */
const thumbprint = ({ crv, kty, x, y }: JsonWebKey): string => createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
