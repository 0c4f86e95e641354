import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectionsFolder, labFolder, workspaceDir } from "../../providers/core/workspace.js";
import { findLab, type Lab } from "../../providers/lab/lab.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { delay } from "../../daemon/lib/abort.js";
import type { Status } from "../../daemon/lib/status.js";
import type { EngineEvent, OperationResult, PlannedStep } from "../../stacks/engine/types.js";
import { plainEnv, type Ran, runProgram } from "./hc-process.js";

export interface Wish { lab: string; /** Default 3. */ nodes?: number; sites: Record<string, object>; pool?: object; host?: object; hosts?: Record<string, object>; alerts?: object; settings?: object; acme?: object; certificates?: Record<string, { chain: string; key: string }> }
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
  /** The lab that the program has made. */
  public lab(): Lab {
    const folder = labFolder(workspaceDir(this.folder, this.env), this.wish.lab);
    const lab = findLab(folder);
    if (lab === undefined) throw new Error(`${folder} holds no lab yet`);
    return lab;
  }
  /** What a shell line in a node prints, through its namespaces: works while the node is cut off. */
  public async inside(node: string, line: string): Promise<string> {
    const lab = this.lab();
    const { stdout, stderr, code } = await lab.runnerOf(await lab.node(node)).run(["bash", "-c", line], { timeoutMs: 60_000 });
    if (code !== 0) throw new Error(`${node}: ${line}: ${stderr}`);
    return stdout.trim();
  }
  /** Looks until there is something; where that lasts too long, the error tells what `hc` says by then, and what the journals of `nodes` do. */
  public async eventually<T>(what: string, withinMs: number, look: () => Promise<T | undefined>, told: readonly (readonly string[])[] = [["status"]], nodes: readonly string[] = []): Promise<T> {
    const end = performance.now() + withinMs;
    for (;;) {
      const seen = await look();
      if (seen !== undefined) return seen;
      if (performance.now() > end) throw new Error([`not within ${withinMs} ms: ${what}`, ...(await Promise.all(told.map(async (args) => (await this.hc(args)).stdout))), await this.journals(nodes)].join("\n"));
      await delay(200);
    }
  }
  /** What each node's hcd has said lately, without its chatter, and what its threads and those of zfs-fuse wait in: a node that hangs says nothing. */
  public async journals(nodes: readonly string[]): Promise<string> {
    const line = "journalctl -u hcd -n 400 -o cat --no-pager | grep -v '\"level\":20' | tail -30 | cut -c1-500; for pid in $(pgrep -f '[h]cd.cjs control') $(pgrep -x zfs-fuse); do echo \"$(cat /proc/$pid/comm): $(for task in /proc/$pid/task/*; do cat $task/wchan; echo; done | sort | uniq -c | tr '\\n' ' ')\"; done";
    return (await Promise.all(nodes.map(async (node) => `${node}:\n${await this.inside(node, line).catch((error: Error) => error.message)}`))).join("\n");
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
