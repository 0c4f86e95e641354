import { dirname } from "node:path";
import { lines, killGroup, startNode } from "./child.js";

export interface ProgramOptions {
  program: string;
  projectRoot: string;
  project: string;
  stack: string;
  /** of the engine's gRPC server */
  address: string;
  parallel: number;
  dryRun: boolean;
  config: Record<string, string>;
  secretKeys: readonly string[];
  env: NodeJS.ProcessEnv;
  say: (line: string, isError: boolean) => void;
}

export interface RunningProgram {
  /** the exit code; -1 when a signal ended it */
  ended: Promise<number>;
  kill(): void;
}

/** Runs the user's program through the SDK's own runner; it registers its resources at `address`. */
export function startProgram(options: ProgramOptions): RunningProgram {
  const { project, stack, address, parallel } = options;
  const args = [`--monitor=${address}`, `--engine=${address}`, "--organization=organization", `--project=${project}`, `--root-directory=${options.projectRoot}`, `--stack=${stack}`,
    `--pwd=${dirname(options.program)}`, `--parallel=${parallel}`, ...(options.dryRun ? ["--dry-run"] : []), options.program];
  const env = { ...options.env, PULUMI_CONFIG: JSON.stringify(options.config), PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(options.secretKeys) };
  const child = startNode(require.resolve("@pulumi/pulumi/cmd/run"), args, { cwd: dirname(options.program), env });
  lines(child.stdout as NodeJS.ReadableStream, (line) => options.say(line, false));
  lines(child.stderr as NodeJS.ReadableStream, (line) => options.say(line, true));
  const ended = new Promise<number>((resolve) => {
    child.once("error", (error) => {
      options.say(error.message, true);
      resolve(-1);
    });
    child.once("close", (code) => resolve(code ?? -1));
  });
  return { ended, kill: () => killGroup(child, "SIGKILL") };
}
