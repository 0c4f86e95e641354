import { type ChildProcess, spawn } from "node:child_process";
import { get } from "node:http";
import { join } from "node:path";
import type { Outcome } from "./ledger-client.js";

export type { Outcome } from "./ledger-client.js";
export const ledgerContent = join(process.cwd(), "stacks", "content", "probe");

/** A client that writes numbered records until it is stopped; `inside` is the pid of a node's first process, to stand in its network. */
export class LedgerClient {
  public readonly outcomes: Outcome[] = [];
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  public constructor(options: { address: string; host: string; name: string; everyMs?: number; maxMs?: number; inside?: number }) {
    const { address, host, name, everyMs = 100, maxMs = 300_000, inside } = options;
    const script = [process.execPath, join(__dirname, "ledger-client.js"), address, host, name, String(everyMs), String(maxMs)];
    const argv = inside === undefined ? script : ["nsenter", "--target", String(inside), "--net", "--", ...script];
    this.child = spawn(argv[0] as string, argv.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdin?.on("error", () => undefined);
    let rest = "";
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.outcomes.push(JSON.parse(line) as Outcome);
    });
    this.ended = new Promise((resolve) => this.child.once("close", () => resolve()));
  }
  public get acknowledged(): Outcome[] {
    return this.outcomes.filter(({ status, error }) => status === 200 && error === "");
  }
  /** No new record; what is in flight is waited for. */
  public async stop(): Promise<Outcome[]> {
    this.child.stdin?.end();
    await this.ended;
    return this.outcomes;
  }
}

/** Lines of the ledger through one node; undefined while it is not answered with 200. */
export function readLedger(address: string, host: string): Promise<string[] | undefined> {
  return new Promise((resolve) => {
    get({ host: address, port: 80, path: "/?list", headers: { host }, agent: false, timeout: 40_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("error", () => resolve(undefined));
      response.on("end", () => resolve(response.statusCode === 200 ? text.split("\n").filter((line) => line !== "") : undefined));
    }).on("timeout", function (this: { destroy(error: Error): void }) { this.destroy(new Error("no answer")); }).on("error", () => resolve(undefined));
  });
}

export interface LedgerVerdict { /** What must never be. */ violations: string[]; /** Acknowledged records that are gone. */ lost: Outcome[]; acknowledged: number }

/**
 * Pure. Of all clients' outcomes and the final ledger: 1. no record is there twice; 2. once a record was acknowledged by an epoch, none is acknowledged by an earlier one that was sent after it
 * (two writers); 3. an epoch has one node. What was acknowledged and is gone is told, for the caller to compare with the loss that was reported.
 */
export function judgeLedger(outcomes: readonly Outcome[], ledger: readonly string[]): LedgerVerdict {
  const violations: string[] = [];
  const ids = ledger.map((line) => line.split(" ")[2] ?? "");
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) violations.push(`${id} is in the ledger twice`);
    seen.add(id);
  }
  const acknowledged = outcomes.filter(({ status, error }) => status === 200 && error === "").sort((a, b) => a.endMs - b.endMs);
  const homes = new Map<number, string>();
  for (const { epoch, node, id } of acknowledged) {
    const home = homes.get(epoch) ?? node;
    homes.set(epoch, home);
    if (home !== node) violations.push(`epoch ${epoch} was at home on ${home} and on ${node} (${id})`);
  }
  const firstOf = new Map<number, Outcome>();
  for (const one of acknowledged) if (!firstOf.has(one.epoch)) firstOf.set(one.epoch, one);
  for (const one of acknowledged)
    for (const [epoch, first] of firstOf) if (one.epoch < epoch && one.sentMs > first.endMs) violations.push(`${one.id} was sent ${one.sentMs - first.endMs} ms after epoch ${epoch} had answered, and ${one.node} took it at epoch ${one.epoch}`);
  return { violations, lost: acknowledged.filter(({ id }) => !seen.has(id)), acknowledged: acknowledged.length };
}
