import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandOptions, CommandResult, CommandRunner } from "../../daemon/lib/command.js";
import { runOk } from "../../daemon/lib/command.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { type Lab, type NodeAccess, openLab } from "../../providers/lab/lab.js";
import { preflight } from "../../providers/lab/preflight.js";
import { ensureRoot } from "../../providers/lab/root.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import { SshRunner } from "../../providers/ssh/ssh-runner.js";

export interface TestLabOptions {
  /** Sizes of each node's disks in bytes, as texts; default one of 1 GiB. */
  disks?: string[];
  memoryBytes?: string;
  /** Default n1, n2, … */
  names?: string[];
}
export interface TestNode extends NodeAccess {
  /** Through the node's namespaces: no network, works while the node is cut off. */
  runner: CommandRunner;
  /** Over SSH with the pinned host key, as production does. */
  ssh: CommandRunner;
  /** A non-zero exit is a value. Default deadline 30 s. */
  exec(argv: readonly string[], options?: Partial<CommandOptions>): Promise<CommandResult>;
  /** Throws on a non-zero exit; returns standard output. */
  ok(argv: readonly string[], options?: Partial<CommandOptions>): Promise<string>;
  /** A shell line inside the node. */
  sh(script: string, options?: Partial<CommandOptions>): Promise<string>;
  alive(): boolean;
  /** Power cut. */
  kill(): Promise<void>;
  /** Orderly shutdown. */
  stop(): Promise<void>;
  start(): Promise<void>;
  cut(): Promise<void>;
  heal(): Promise<void>;
}
export interface TestLab {
  readonly lab: Lab;
  readonly nodes: TestNode[];
  node(name: string): TestNode;
  destroy(): Promise<void>;
}

async function handle(lab: Lab, name: string): Promise<TestNode> {
  const node = await lab.node(name);
  const runner = lab.runnerOf(node);
  const ok = (argv: readonly string[], options: Partial<CommandOptions> = {}): Promise<string> => runOk(runner, argv, { timeoutMs: 30_000, ...options });
  return {
    ...lab.access(node), runner, ok,
    ssh: new SshRunner(lab.access(node)),
    exec: (argv, options = {}) => runner.run(argv, { timeoutMs: 30_000, ...options }),
    sh: (script, options = {}) => ok(["bash", "--norc", "-euo", "pipefail", "-c", script], options),
    alive: () => lab.pid(node) !== undefined,
    kill: () => lab.kill(name),
    stop: () => lab.stop(name),
    start: () => lab.start(name),
    cut: () => lab.cut(name),
    heal: () => lab.heal(name),
  };
}

/** A lab of this process alone: cleared by the next run if this one is killed. The caller destroys it. */
export async function makeTestLab(count: number, options: TestLabOptions = {}): Promise<TestLab> {
  const runner = new LocalRunner();
  const dir = await mkdtemp(join(tmpdir(), "hc-lab-"));
  await preflight(runner, dir);
  const root = await ensureRoot(runner, (what, sinceMs) => process.stderr.write(`lab: ${what} (${Math.round(sinceMs / 1000)} s)\n`));
  const lab = await openLab({ dir, name: `test-${process.pid}`, ephemeral: true, runner });
  try {
    const names = options.names ?? Array.from({ length: count }, (_, number) => `n${number + 1}`);
    const disks = (options.disks ?? [String(1 << 30)]).map((sizeBytes) => ({ sizeBytes }));
    for (const name of names) await lab.createNode({ name, disks, root, ...(options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes }) });
    await Promise.all(names.map((name) => lab.start(name)));
    const nodes = await Promise.all(names.map((name) => handle(lab, name)));
    return {
      lab, nodes,
      node(name) {
        const found = nodes.find((node) => node.name === name);
        if (found === undefined) throw new Error(`this test lab has no node ${name}`);
        return found;
      },
      async destroy() {
        await closeConnections();
        await lab.destroy();
      },
    };
  } catch (error) {
    await lab.destroy();
    throw error;
  }
}

/** For one test: `act` gets the lab, which is gone afterwards, whatever happened. */
export async function runWithLab<T>(count: number, options: TestLabOptions, act: (lab: TestLab) => Promise<T>): Promise<T> {
  const lab = await makeTestLab(count, options);
  try {
    return await act(lab);
  } finally {
    await lab.destroy();
  }
}

/** For a test file or a describe block: made before its tests, destroyed after them. Its members can be used from within tests and hooks. */
export function withLab(count: number, options: TestLabOptions = {}): TestLab {
  let made: TestLab | undefined;
  const lab = (): TestLab => {
    if (made === undefined) throw new Error("the lab of this test file is not there (yet)");
    return made;
  };
  // the first run of all builds the Debian root
  beforeAll(async () => { made = await makeTestLab(count, options); }, 10 * 60_000);
  afterAll(async () => { await made?.destroy(); }, 60_000);
  return {
    get lab() { return lab().lab; },
    get nodes() { return lab().nodes; },
    node: (name) => lab().node(name),
    destroy: () => lab().destroy(),
  };
}
