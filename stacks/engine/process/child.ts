import { type ChildProcess, spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

/** Ends a process group that the engine started; a process that is gone already is fine. */
export function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ended in between
  }
}

export const clean = (text: string): string => stripVTControlCharacters(text);

/** Calls `say` for each whole line, and for the rest at the end. */
export function lines(stream: NodeJS.ReadableStream, say: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const line of parts) say(clean(line.replace(/\r$/, "")));
  });
  stream.on("end", () => {
    if (rest !== "") say(clean(rest));
  });
}

/** Detached: a Ctrl-C of the terminal goes to the engine alone, which lets running steps finish. It ends with the engine all the same (with-parent.ts). */
export function startNode(script: string, args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }): ChildProcess {
  // the SDK loads experimental parts of Node; its users cannot do anything about that
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", "--require", require.resolve("./with-parent.js"), script, ...args], { cwd: options.cwd, env: options.env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.on("error", () => undefined);
  return child;
}
