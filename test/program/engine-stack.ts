import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineEvent, type OperationKind, type OperationOptions, type OperationResult, type PlannedStep, runOperation } from "../../stacks/engine/index.js";
import type { ResourceRecord } from "../../stacks/engine/types.js";

export interface SpecResource {
  name: string;
  component?: boolean;
  props?: Record<string, unknown>;
  opts?: Record<string, unknown>;
}
export interface Spec {
  resources: SpecResource[];
  outputs?: Record<string, unknown>;
  throws?: string;
  reject?: string;
  exit?: number;
  print?: string;
  /** real serialized closures */
  closure?: boolean;
}

const fixtures = join(process.cwd(), "test", "fixtures", "engine");
/** The SDK is loaded three times an `up`; compiled once it costs a fifth less. */
const compileCache = mkdtempSync(join(tmpdir(), "engine-test-cache-"));
export const thing = (name: string, props: Record<string, unknown> = {}, opts: Record<string, unknown> = {}): SpecResource => ({ name, props, opts });

/** A stack of its own in a temporary folder, run by the real SDK processes. */
export class TestStack {
  public readonly dir = mkdtempSync(join(tmpdir(), "engine-test-"));
  public readonly world = join(this.dir, "world");
  public readonly stateFile = join(this.dir, "ws", "state", ".pulumi", "stacks", "demo", "dev.json");
  public readonly journal = join(this.dir, "ws", "state", ".pulumi", "stacks", "demo", "dev.hc-journal");
  private readonly record = join(this.dir, "record");
  private seen = 0;
  public events: EngineEvent[] = [];
  public plan: PlannedStep[] = [];

  public constructor() {
    mkdirSync(this.world);
    mkdirSync(join(this.dir, "project"));
    writeFileSync(join(this.dir, "project", "Pulumi.yaml"), "name: demo\nruntime: nodejs\n");
    writeFileSync(this.record, "");
  }

  public options(kind: OperationKind): OperationOptions {
    const env = { ...process.env, ENGINE_SPEC: join(this.dir, "spec.json"), ENGINE_RECORD: this.record, ENGINE_WORLD: this.world, ENGINE_PROVIDER: join(fixtures, "thing-provider.js"), HC_ENGINE: "embedded", NODE_COMPILE_CACHE: compileCache, PULUMI_BACKEND_URL: undefined, PULUMI_CONFIG_PASSPHRASE: undefined, PULUMI_CONFIG_PASSPHRASE_FILE: undefined };
    return { kind, projectRoot: join(this.dir, "project"), program: join(fixtures, "program.js"), project: "demo", stack: "dev", workspace: join(this.dir, "ws"), env };
  }
  public write(spec: Spec): void {
    writeFileSync(join(this.dir, "spec.json"), JSON.stringify(spec));
  }

  public async run(kind: OperationKind, spec?: Spec, more: Partial<OperationOptions> = {}): Promise<OperationResult> {
    if (spec !== undefined) this.write(spec);
    this.events = [];
    this.plan = [];
    const keep = async (plan: PlannedStep[]): Promise<void> => {
      this.plan = plan;
    };
    return runOperation({ ...this.options(kind), events: (event) => this.events.push(event), beforeApply: keep, ...more });
  }
  public up = (spec?: Spec, more: Partial<OperationOptions> = {}): Promise<OperationResult> => this.run("up", spec, more);

  /** The same in another process, which the test may kill. */
  public start(kind: OperationKind, spec?: Spec): { child: ChildProcess; result: Promise<OperationResult & { thrown?: string }> } {
    if (spec !== undefined) this.write(spec);
    const { env, ...options } = this.options(kind);
    const child = spawn(process.execPath, [join(fixtures, "operate.js"), kind, JSON.stringify(options)], { env: env as NodeJS.ProcessEnv, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const result = new Promise<OperationResult>((resolve, reject) => child.once("close", () => (text === "" ? reject(new Error("killed")) : resolve(JSON.parse(text) as OperationResult))));
    result.catch(() => undefined);
    return { child, result };
  }

  /** What the provider process did since the last call: "create a", … */
  public done(): string[] {
    const all = readFileSync(this.record, "utf8").trim().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as { op: string; name: string });
    const fresh = all.slice(this.seen);
    this.seen = all.length;
    return fresh.filter((item) => item.op !== "create-begin").map((item) => `${item.op} ${item.name}`);
  }
  /** Waits until the provider has begun to create `name`. */
  public begun(name: string): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!readFileSync(this.record, "utf8").includes(`{"op":"create-begin","name":"${name}"}`)) return;
        watcher.close();
        resolve();
      };
      const watcher = watch(this.record, look);
      look();
    });
  }

  public stateText = (): string => readFileSync(this.stateFile, "utf8");
  public latest(): { resources?: ResourceRecord[]; pending_operations?: { type: string; resource: ResourceRecord }[] } {
    return (JSON.parse(this.stateText()) as { checkpoint: { latest: { resources?: ResourceRecord[] } } }).checkpoint.latest;
  }
  public resource(name: string): ResourceRecord | undefined {
    return this.latest().resources?.find((record) => record.urn.endsWith(`::${name}`));
  }
  public names = (): string[] => (this.latest().resources ?? []).map((record) => record.urn.split("::").at(-1) ?? "").sort();
  public things = (): string[] => readdirSync(this.world).sort();
  public ops = (): string[] => this.plan.filter((step) => step.op !== "same").map((step) => `${step.op} ${step.name}`);
  public touch(name: string): string {
    const file = join(this.dir, name);
    writeFileSync(file, "");
    return file;
  }
  public said = (): string => this.events.map((event) => (event.type === "message" ? event.text : event.type === "step-end" ? `${event.step.name}: ${event.error ?? event.step.note ?? ""}` : "")).join("\n");
  public exists = existsSync;
  public remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** A stack for each test of a file, taken away afterwards. */
export function testStacks(): () => TestStack {
  const stacks: TestStack[] = [];
  afterAll(() => {
    for (const stack of stacks) stack.remove();
    rmSync(compileCache, { recursive: true, force: true });
  });
  return () => {
    const stack = new TestStack();
    stacks.push(stack);
    return stack;
  };
}
