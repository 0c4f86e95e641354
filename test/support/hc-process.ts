import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter } from "node:path";

export interface Ran { code: number | null; stdout: string; stderr: string }
export interface RunOptions { cwd: string; env?: NodeJS.ProcessEnv; timeoutMs?: number; /** Each piece of output as it comes; may end the whole process group. */ seen?: (text: string, kill: () => void) => void }

/** The environment of somebody who has only installed the machine's own Node: nothing of this test run, nor of the `npm test` around it. */
export function plainEnv(home: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_(?!config_(registry|cache|cafile)$)|INIT_CWD$|NODE_OPTIONS$|JEST_|HC_)/.test(name));
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((entry) => !entry.includes("node_modules"));
  // the lab's root is shared by all labs of the machine
  const cache = process.env["HC_CACHE"];
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter), HC_HOME: home, ...(cache === undefined ? {} : { HC_CACHE: cache }) };
}

/** A program in a process group of its own, which goes with it. A non-zero exit is a value. */
export function runProgram(argv: readonly [string, ...string[]], options: RunOptions): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { cwd: options.cwd, env: options.env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const kill = (): void => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
    };
    const timer = setTimeout(kill, options.timeoutMs ?? 120_000);
    const ran: Ran = { code: null, stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (text: string) => {
        ran[name] += text;
        options.seen?.(text, kill);
      });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ...ran, code });
    });
  });
}

/** A TCP port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Processes of Linux by their parent and a word of their command line. */
export function childrenOf(parent: number, words: string): number[] {
  return readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name)).map(Number).filter((pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return Number(/^PPid:\s+([0-9]+)/m.exec(status)?.[1]) === parent && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(words);
    } catch {
      return false; // ended in between
    }
  });
}
