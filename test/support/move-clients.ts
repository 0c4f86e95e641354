import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type ClientWrites, judgeWrites, type WritesVerdict } from "../../cli/probe/judge-writes.js";
import { readLedger } from "./ledger.js";
import type { LoadOutcome, LoadPlan } from "./move-load.js";

/** The process of move-load.ts, and what it has told. */
export class MoveClients {
  public readonly outcomes: LoadOutcome[] = [];
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  public constructor(private readonly plan: LoadPlan) {
    this.child = spawn(process.execPath, [join(__dirname, "move-load.js"), JSON.stringify(plan)], { stdio: ["pipe", "pipe", "inherit"] });
    this.child.stdin?.on("error", () => undefined);
    let rest = "";
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.outcomes.push(JSON.parse(line) as LoadOutcome);
    });
    this.ended = new Promise((resolve) => this.child.once("close", () => resolve()));
  }
  /** No new request; what is in flight is waited for. */
  public async stop(): Promise<void> {
    this.child.stdin?.end();
    await this.ended;
  }
  public get failed(): LoadOutcome[] {
    return this.outcomes.filter(({ error }) => error !== "");
  }
  /** Those that were in flight at any time between `fromMs` and `toMs`, by the wall clock. */
  public during(fromMs: number, toMs: number): LoadOutcome[] {
    return this.outcomes.filter(({ atMs, headMs }) => atMs < toMs && atMs + headMs > fromMs);
  }
  /** Judges all records that were written, by the list that lies in the site now. Throws when no node tells it. */
  public async writes(): Promise<WritesVerdict> {
    const clients = new Map<string, ClientWrites & { acknowledged: number[] }>();
    for (const { kind, client, number, error } of this.outcomes) {
      if (kind !== "writer") continue;
      const seen = clients.get(client) ?? { client, sent: 0, acknowledged: [] };
      clients.set(client, seen);
      seen.sent = Math.max(seen.sent, number);
      if (error === "") seen.acknowledged.push(number);
    }
    for (const address of [...this.plan.addresses, ...this.plan.addresses]) {
      const lines = await readLedger(address, this.plan.host);
      if (lines !== undefined) return judgeWrites([...clients.values()], lines.map((line) => line.slice(line.lastIndexOf(" ") + 1)));
    }
    throw new Error("no node tells the list of records");
  }
}
