import { createHash } from "node:crypto";
import { Agent, type IncomingMessage, request } from "node:http";
import { delay } from "../../daemon/lib/abort.js";

/**
 * The clients of test/bench/move.ts as a process of their own: `PLAN` (JSON). Each sends one request after the other, each once, at its own pace, and prints a line for each that has ended. Ends when its
 * standard input closes; what is in flight then is waited for.
 */
export interface LoadPlan {
  /** The clients of each kind are spread over these. */
  addresses: string[];
  host: string;
  /** Kind → clients, and requests a second of all of them together. */
  kinds: Partial<Record<Kind, { clients: number; rate: number }>>;
  timeoutMs: number;
}
/** reader: a page over a connection that is kept; fresh: over a new one each time; writer: a numbered record; upload: 5 MB, whose digest is answered; slow: reads 4 MiB at 512 KiB/s and digests them. */
export type Kind = "reader" | "fresh" | "writer" | "upload" | "slow";
export interface LoadOutcome {
  kind: Kind;
  client: string;
  /** Of this client, from 1. */
  number: number;
  address: string;
  atMs: number;
  /** Until the head of the answer, and until its end, ms. */
  headMs: number;
  endMs: number;
  status: number;
  /** "" = well: answered with 200, and with what was wanted. */
  error: string;
  node: string;
  epoch: number;
}

const uploadBytes = 5_000_000;
const slowBytesPerMs = 512;
const sha256 = (parts: Iterable<Buffer>): string => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};
const upload = Buffer.alloc(uploadBytes, "HybridCluster moves sites. ");
const uploadDigest = sha256([upload]);
const bigDigest = sha256(Array.from({ length: 64 }, (_, block) => Buffer.from(String(block).padStart(8, "0").repeat(8192))));

interface Asked { path: string; method?: string; body?: Buffer; agent: Agent | false; slow?: boolean }
const pages: Readonly<Record<Kind, (id: string) => Omit<Asked, "agent">>> = {
  reader: () => ({ path: "/" }),
  fresh: () => ({ path: "/" }),
  writer: (id) => ({ path: `/?add=${id}`, method: "POST" }),
  upload: () => ({ path: "/?upload", method: "POST", body: upload }),
  slow: () => ({ path: "/?big", slow: true }),
};
interface Answer { status: number; headMs: number; digest: string; text: string }

function send(plan: LoadPlan, address: string, { path, method = "GET", body, agent, slow = false }: Asked): Promise<Answer> {
  const began = performance.now();
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      clearTimeout(timer);
      asked.destroy();
      reject(error);
    };
    const take = async (response: IncomingMessage): Promise<Answer> => {
      const headMs = performance.now() - began;
      const hash = createHash("sha256");
      let text = "";
      for await (const part of response as AsyncIterable<Buffer>) {
        hash.update(part);
        if (text.length < 4096) text += part.toString("latin1");
        if (slow) await delay(part.length / slowBytesPerMs);
      }
      return { status: response.statusCode ?? 0, headMs, digest: hash.digest("hex"), text };
    };
    const asked = request({ host: address, port: 80, path, method, agent, headers: { host: plan.host, ...(method === "GET" ? {} : { "content-length": body?.length ?? 0 }) } }, (response) => {
      take(response).then((answer) => {
        clearTimeout(timer);
        resolve(answer);
      }, fail);
    });
    const timer = setTimeout(() => fail(new Error(`no whole answer within ${plan.timeoutMs / 1000} s`)), plan.timeoutMs);
    asked.on("error", fail).end(body);
  });
}

/** What is wrong with an answer; "" = nothing. */
function fault(kind: Kind, id: string, { status, digest, text }: Answer): string {
  if (status !== 200) return String(status);
  if (kind === "upload") return text.trim() === uploadDigest ? "" : "another digest than that of what was sent";
  if (kind === "slow") return digest === bigDigest ? "" : "other bytes than the page's";
  try {
    return kind !== "writer" || (JSON.parse(text) as { id?: string }).id === id ? "" : "the answer does not name the record";
  } catch {
    return "the answer is no JSON";
  }
}

async function client(plan: LoadPlan, kind: Kind, name: string, index: number, of: { clients: number; rate: number }, ended: AbortSignal): Promise<void> {
  const address = plan.addresses[index % plan.addresses.length] as string;
  // half of the writers come over new connections; so do slow readers: a proxy counts a connection's idle time from when it has handed over the answer, which may lie in the kernel for as long (RFC 9112 §9.5)
  const agent = kind === "fresh" || kind === "slow" || (kind === "writer" && index % 2 === 1) ? false : new Agent({ keepAlive: true, maxSockets: 1 });
  const everyMs = (of.clients * 1000) / of.rate;
  let dueMs = performance.now() + (index * everyMs) / of.clients;
  for (let number = 1; ; number += 1) {
    await delay(Math.max(0, dueMs - performance.now()), ended).catch(() => undefined);
    if (ended.aborted) return;
    dueMs = Math.max(dueMs + everyMs, performance.now());
    const id = `${name}-${number}`;
    const asked: Asked = { ...pages[kind](id), agent };
    const [atMs, began] = [Date.now(), performance.now()];
    const answer = await send(plan, address, asked).catch((error: unknown) => ({ status: 0, headMs: performance.now() - began, digest: "", text: "", error: (error as { code?: string }).code ?? (error as Error).message }));
    const error = "error" in answer ? answer.error : fault(kind, id, answer);
    const said = error === "" && kind !== "upload" && kind !== "slow" ? (JSON.parse(answer.text) as { node: string; epoch: number }) : { node: "", epoch: 0 };
    process.stdout.write(`${JSON.stringify({ kind, client: name, number, address, atMs, headMs: answer.headMs, endMs: performance.now() - began, status: answer.status, error, node: said.node, epoch: said.epoch } satisfies LoadOutcome)}\n`);
  }
}

async function main(): Promise<void> {
  const plan = JSON.parse(process.argv[2] ?? "{}") as LoadPlan;
  const end = new AbortController();
  process.stdin.resume().once("end", () => end.abort()).once("error", () => end.abort());
  const run = Date.now().toString(36);
  await Promise.all(Object.entries(plan.kinds).flatMap(([kind, of]) => Array.from({ length: of.clients }, (_, index) => client(plan, kind as Kind, `${kind}${run}x${index}`, index, of, end.signal))));
  process.exit(0);
}
if (require.main === module) void main();
