import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { onLines } from "../../../daemon/proxy/channel.js";
import { delay } from "../../../daemon/lib/abort.js";

export interface Started { pid: number; /** Settles when it has ended. */ ended: Promise<number | null>; /** What it says, a line of JSON at a time. */ onMessage(take: (message: never) => void): void; say(message: object): void; stop(): Promise<void> }

/** The processes of one run: pinned, and each ended by its id, whatever happens to the run (the kernel does it when the run itself is killed). */
export class Processes {
  private readonly running = new Set<ChildProcess>();

  public constructor(private readonly dir: string) {
    process.once("exit", () => this.kill());
  }

  /** `core`: as taskset takes it. stderr, and stdout unless `lines`, go to `<dir>/<name>.log`. */
  public start(name: string, argv: readonly string[], options: { core: string | number; lines?: boolean }): Started {
    const log = openSync(join(this.dir, `${name}.log`), "w");
    const child = spawn("setpriv", ["--pdeathsig", "KILL", "taskset", "-c", String(options.core), ...argv], { stdio: [options.lines ? "pipe" : "ignore", options.lines ? "pipe" : log, log], cwd: this.dir, env: { PATH: process.env["PATH"] } });
    closeSync(log);
    child.stdin?.on("error", () => undefined); // it has ended: told by `ended`
    this.running.add(child);
    const ended = new Promise<number | null>((resolve) => {
      child.once("error", () => resolve(null));
      child.once("exit", (code) => resolve(code));
    }).finally(() => this.running.delete(child));
    return {
      pid: child.pid ?? 0,
      ended,
      onMessage: (take) => void (child.stdout !== null && onLines(child.stdout, (message) => take(message as never))),
      say: (message) => void child.stdin?.write(`${JSON.stringify(message)}\n`),
      stop: async () => {
        child.kill("SIGTERM");
        const killer = setTimeout(() => child.kill("SIGKILL"), 3_000);
        await ended;
        clearTimeout(killer);
      },
    };
  }

  /** The end of what a process has written to its log, for messages. */
  public log(name: string): string {
    return readFileSync(join(this.dir, `${name}.log`), "utf8").slice(-2_000);
  }

  public kill(): void {
    for (const child of this.running) child.kill("SIGKILL");
  }
}

/** Free ports of 127.0.0.1 below the range from which connections take theirs. */
export async function freePorts(count: number, from = 21_000): Promise<number[]> {
  const found: number[] = [];
  for (let port = from; found.length < count && port < 30_000; port += 1) {
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer().once("error", () => resolve(false)).listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
    });
    if (free) found.push(port);
  }
  if (found.length < count) throw new Error(`no ${count} free ports of 127.0.0.1 from ${from}`);
  return found;
}

/** Settles once a GET to the port is answered with 200. Rejects when the process ends, or after `withinMs`. */
export async function untilAnswers(started: Started, port: number, host: string, withinMs = 15_000): Promise<void> {
  let gone = false;
  void started.ended.then(() => {
    gone = true;
  });
  let last = "no connection";
  for (const end = performance.now() + withinMs; performance.now() < end && !gone; await delay(20)) {
    last = await new Promise<string>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => socket.write(`GET /1k HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
      socket.setTimeout(2_000, () => socket.destroy());
      socket.once("data", (data) => {
        resolve(data.toString("latin1", 0, 12));
        socket.destroy();
      });
      socket.once("error", (error) => resolve(error.message));
      socket.once("close", () => resolve("closed without an answer"));
    });
    if (last === "HTTP/1.1 200") return;
  }
  throw new Error(gone ? "it ended" : `port ${port} gave no 200: ${last}`);
}
