import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectionsFolder, workspaceDir } from "../../providers/core/workspace.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import type { Status } from "../../daemon/lib/status.js";
import type { EngineEvent, OperationResult, PlannedStep } from "../../stacks/engine/types.js";
import { plainEnv, type Ran, runProgram } from "./hc-process.js";

export interface Wish { lab: string; /** Default 3. */ nodes?: number; sites: Record<string, object>; pool?: object; host?: object; hosts?: Record<string, object>; alerts?: object; settings?: object }
export interface Said { ran: Ran; result: OperationResult | undefined; error: string; planned: PlannedStep[]; done: PlannedStep[] }

/** A project folder of a web host with a home of its own, driven by the command line as its user would. */
export class HcProject {
  public readonly folder = mkdtempSync(join(tmpdir(), "hc-project-"));
  public readonly env: NodeJS.ProcessEnv;
  public wish: Wish;
  private looking: Promise<unknown> = Promise.resolve();

  public constructor(lab: string) {
    const root = process.cwd();
    this.env = { ...plainEnv(join(this.folder, "home")), HC_TEST_PROJECT: this.folder };
    this.wish = { lab, sites: {} };
    mkdirSync(join(this.folder, "node_modules"));
    symlinkSync(root, join(this.folder, "node_modules", "hybridcluster"));
    writeFileSync(join(this.folder, "Pulumi.yaml"), "name: web-host\nruntime: { name: nodejs, options: { typescript: false } }\nmain: index.js\n");
    writeFileSync(join(this.folder, "index.js"), readFileSync(join(root, "test", "fixtures", "program", "index.js")));
  }

  public hc(args: readonly string[], options: { timeoutMs?: number; seen?: (text: string, kill: () => void) => void } = {}): Promise<Ran> {
    writeFileSync(join(this.folder, "wish.json"), JSON.stringify(this.wish));
    return runProgram([process.execPath, join(process.cwd(), "dist", "cli", "main.js"), ...args], { cwd: this.folder, env: this.env, timeoutMs: 180_000, ...options });
  }
  public async json<T>(args: readonly string[]): Promise<T> {
    const ran = await this.hc([...args, "--json"]);
    try {
      return JSON.parse(ran.stdout) as T;
    } catch {
      throw new Error(`hc ${args.join(" ")}: ${ran.stdout.slice(-2000)}${ran.stderr.slice(-2000)}`);
    }
  }
  /** What `hc status --json` prints, and how it gets it (any node, over SSH), without a process for each look: tests that wait look often. */
  public status(): Promise<Status> {
    const look = this.looking.then(async () => {
      const folder = connectionsFolder(workspaceDir(this.folder, this.env));
      const name = readdirSync(folder).find((file) => file.endsWith(".json") && !file.endsWith(".pending.json"));
      if (name === undefined) throw new Error(`${this.folder} has no cluster yet`);
      const { connections } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { connections: Connection[] };
      try {
        return await apiCall<Status>(connections, "GET", "/v1/status", undefined, { timeoutMs: 10_000 });
      } finally {
        await closeConnections(); // a process of its own would know no connection to a node that has died since
      }
    });
    this.looking = look.catch(() => undefined);
    return look;
  }
  /** An operation of the engine with its events. */
  public async operate(kind: "up" | "preview" | "destroy", args: readonly string[] = []): Promise<Said> {
    const ran = await this.hc([kind, "--json", ...(kind === "preview" ? [] : ["--yes"]), ...args]);
    const lines = ran.stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as EngineEvent | { type: "result" } | { type?: undefined; error: { message: string } });
    const steps = (preview: boolean): PlannedStep[] => lines.flatMap((line) => (line.type === "step-end" && line.preview === preview && line.step.op !== "same" ? [line.step] : []));
    const result = lines.find((line) => line.type === "result") as unknown as OperationResult | undefined;
    const thrown = lines.find((line) => "error" in line && line.type === undefined) as { error: { message: string } } | undefined;
    return { ran, result, error: [thrown?.error.message ?? "", ...(result?.diagnostics ?? []), ran.stderr].join("\n"), planned: steps(true), done: steps(false) };
  }
  public async remove(): Promise<number | null> {
    const { code } = await this.hc(["destroy", "--yes", "--remove-stack"]);
    if (code === 0) rmSync(this.folder, { recursive: true, force: true });
    return code;
  }
}
/** "update Site shop (quota)" */
export const stepText = (step: PlannedStep): string => `${step.op} ${step.type.split(":").at(-1)} ${step.name}${step.diff.length === 0 ? "" : ` (${step.diff.map((diff) => diff.key).sort().join(", ")})`}`;
