import { Agent } from "node:https";
import { rootCertificates } from "node:tls";
import type { Authorization, Client, Order } from "acme-client";
import type { AcmeSpec } from "../lib/tls-spec.js";

/** What the CA said (RFC 8555 §6.7, RFC 7807), or that it could not be asked. */
export class CaError extends Error {
  public constructor(message: string, /** "rateLimited", "malformed", …; "" = not the CA's word. */ public readonly type = "", public readonly retryAfterMs = 0) {
    super(message);
  }
}
export interface Challenge { token: string; /** What is answered under its address. */ answer: string; /** Tells the CA to look. */ ready(): Promise<void> }
/** An order as the CA sees it now. */
export interface OrderState { status: "pending" | "ready" | "processing" | "valid" | "invalid"; url: string; /** Why it is invalid; "" = not told. */ problem: string }
/** One account at one CA. Every call has a deadline of its own (20 s). Throws CaError. */
export interface AcmeCa {
  /** Registers the account's key, or finds it; agrees to the terms. Its address. */
  register(): Promise<string>;
  begin(name: string): Promise<OrderState>;
  /** undefined: the CA knows no such order. */
  look(url: string): Promise<OrderState | undefined>;
  /** HTTP-01 challenges of what is still to be proven. */
  challenges(url: string): Promise<Challenge[]>;
  finalize(url: string, name: string, keyPem: string): Promise<void>;
  /** PEM, the certificate first. */
  download(url: string): Promise<string>;
}
export type MakeCa = (spec: AcmeSpec, accountKey: string, accountUrl: string) => Promise<AcmeCa>;

const callMs = 20_000;
const bodyBytes = 1024 * 1024;
interface Problem { type?: string; detail?: string; subproblems?: { detail?: string }[] }
interface Answer { status: number; headers: Record<string, unknown>; data: unknown }

const plain = (text: string): string => text.replace(/[\p{Cc}\s]+/gu, " ").slice(0, 500);
const textOf = (problem: Problem | undefined): string => plain([problem?.detail, ...(problem?.subproblems ?? []).slice(0, 3).map(({ detail }) => detail)].filter((text) => typeof text === "string").join("; "));
/** Seconds or a date (RFC 9110 §10.2.3) → ms from now. */
export function retryAfterMs(value: unknown, nowMs: number): number {
  const text = typeof value === "string" ? value : "";
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000;
  const at = Date.parse(text);
  return Number.isNaN(at) ? 0 : Math.max(0, at - nowMs);
}

type Library = Pick<typeof import("acme-client"), "Client" | "crypto" | "axios">;
let library: Promise<Library> | undefined;
/**
 * acme-client, loaded at the first use, by its parts: its index also brings a second cryptography (node-forge, a quarter of the daemon). It gets bounds on time and size, does not wait by itself (it would sleep as long as
 * Retry-After says, and hide what went wrong on the way: the plan does that, with a record), and its errors keep what the CA said.
 */
function load(): Promise<Library> {
  library ??= Promise.all([import("acme-client/src/client.js"), import("acme-client/src/crypto/index.js"), import("acme-client/src/axios.js")]).then(([client, crypto, http]) => {
    const axios = http.default;
    const { defaults, interceptors } = axios;
    defaults.timeout = callMs;
    defaults.maxContentLength = bodyBytes;
    interceptors.request.clear();
    interceptors.response.clear();
    interceptors.response.use((answer) => {
      const { status, headers, data } = answer as unknown as Answer;
      const problem = typeof data === "object" && data !== null ? (data as Problem) : undefined;
      const type = String(problem?.type ?? "").replace("urn:ietf:params:acme:error:", "");
      if (status < 400 || type === "badNonce") return answer; // the library takes another nonce and tries again (RFC 8555 §6.5)
      throw new CaError(`the CA answered ${status}: ${textOf(problem) || "without a reason"}`, type === "" ? `http-${status}` : type, retryAfterMs(headers["retry-after"], Date.now()));
    });
    return { Client: client.default, crypto: crypto.default, axios };
  });
  return library;
}

async function asked<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof CaError) throw error;
    throw new CaError(`the CA could not be asked: ${plain(error instanceof Error ? error.message : String(error))}`);
  }
}
const stateOf = (order: Order): OrderState => ({ status: order.status, url: order.url, problem: textOf((order as { error?: Problem }).error) });

/** `accountKey`: PEM. `accountUrl` "": to be registered. */
export const makeCa: MakeCa = async (spec, accountKey, accountUrl) => {
  const acme = await load();
  acme.axios.defaults.httpsAgent = new Agent({ keepAlive: true, ...(spec.ca === "" ? {} : { ca: [...rootCertificates, spec.ca] }) });
  const client: Client = new acme.Client({ directoryUrl: spec.directory, accountKey, ...(accountUrl === "" ? {} : { accountUrl }) });
  const order = (url: string): Promise<Order> => client.getOrder({ url } as Order);
  const refused = (authorization: Authorization): string => textOf((authorization.challenges.find((one) => (one as { error?: Problem }).error !== undefined) as { error?: Problem } | undefined)?.error);
  return {
    register: () => asked(async () => {
      await client.createAccount({ termsOfServiceAgreed: true, ...(spec.email === "" ? {} : { contact: [`mailto:${spec.email}`] }) });
      return client.getAccountUrl();
    }),
    begin: (name) => asked(async () => stateOf(await client.createOrder({ identifiers: [{ type: "dns", value: name }] }))),
    look: (url) => asked(async () => {
      const seen = await order(url);
      if (seen.status !== "invalid") return stateOf(seen);
      // why it is invalid stands at what could not be proven
      const problems = (await client.getAuthorizations(seen)).map(refused).filter((text) => text !== "");
      return { ...stateOf(seen), problem: problems.join("; ") || stateOf(seen).problem };
    }).catch((error: CaError) => {
      if (error.type === "malformed" || error.type === "http-404" || error.type === "unauthorized") return undefined;
      throw error;
    }),
    challenges: (url) => asked(async () => {
      const pending = (await client.getAuthorizations(await order(url))).filter(({ status }) => status === "pending");
      return Promise.all(pending.map(async ({ challenges, identifier }) => {
        const challenge = challenges.find(({ type }) => type === "http-01");
        if (challenge === undefined) throw new CaError(`the CA offers no HTTP-01 challenge for ${plain(identifier.value)}`);
        if (!/^[A-Za-z0-9_-]{1,256}$/.test(challenge.token)) throw new CaError("the CA's token is not one (RFC 8555 §8.3)");
        return { token: challenge.token, answer: await client.getChallengeKeyAuthorization(challenge), ready: () => asked(async () => void (await client.completeChallenge(challenge))) };
      }));
    }),
    finalize: (url, name, keyPem) => asked(async () => {
      const [, csr] = await acme.crypto.createCsr({ altNames: [name] }, keyPem);
      await client.finalizeOrder(await order(url), csr);
    }),
    download: (url) => asked(async () => {
      const seen = await order(url);
      if (seen.status !== "valid") throw new CaError("the CA's certificate is not there yet");
      return client.getCertificate(seen);
    }),
  };
};
