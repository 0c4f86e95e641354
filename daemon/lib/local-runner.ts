import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { setPriority } from "node:os";
import { Readable, type Writable } from "node:stream";
import { type CommandOptions, type CommandResult, type CommandRunner, defaultOutputBytes, redact, stderrTail } from "./command.js";
import { HcError } from "./errors.js";

export const commandEnvironment = (): NodeJS.ProcessEnv => ({ ...process.env, LC_ALL: "C.UTF-8" });

/** Runs programs on this machine, each in a process group of its own, so that a deadline ends its children too. */
export class LocalRunner implements CommandRunner {
  /** `niceness` of what is run (nice(1), -20 to 19); without it that of this process. */
  public constructor(private readonly niceness?: number) {}

  public run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const [file, ...args] = argv;
    if (file === undefined) throw new HcError("INTERNAL", "run: empty argv");
    const started = performance.now();
    const label = redact(argv.slice(0, 6).join(" "), options.secrets);
    const limit = options.maxOutputBytes ?? defaultOutputBytes;
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) return void reject(new HcError("ABORTED", `${label}: cancelled before it began.`));
      const child = spawn(file, args, {
        cwd: options.cwd,
        env: { ...commandEnvironment(), ...options.env },
        stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
        detached: true,
      }) as ChildProcessByStdio<Writable | null, Readable, Readable>;
      if (this.niceness !== undefined && child.pid !== undefined) beNice(child.pid, this.niceness);
      let failure: HcError | undefined;
      const out: Buffer[] = [];
      let outBytes = 0;
      let err = Buffer.alloc(0);
      const end = (error: HcError): void => {
        failure ??= error;
        killGroup(child);
      };
      const timer = setTimeout(() => end(new HcError("COMMAND_TIMEOUT", `${label}: ended at its deadline of ${options.timeoutMs} ms.`)), options.timeoutMs);
      const onAbort = (): void => end(new HcError("ABORTED", `${label}: cancelled.`));
      options.signal?.addEventListener("abort", onAbort, { once: true });
      const finish = (): void => {
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", onAbort);
      };
      child.on("error", (cause: NodeJS.ErrnoException) => {
        finish();
        reject(cause.code === "ENOENT" ? new HcError("COMMAND_NOT_FOUND", `${file} is not installed here.`, { cause }) : new HcError("COMMAND_FAILED", `${label}: ${cause.message}`, { cause }));
      });
      if (options.output === undefined)
        child.stdout.on("data", (chunk: Buffer) => {
          outBytes += chunk.length;
          if (outBytes > limit) end(new HcError("LIMIT_EXCEEDED", `${label}: more than ${limit} bytes of output.`, { retry: "never" }));
          else out.push(chunk);
        });
      else {
        options.output.on("error", () => child.kill("SIGPIPE"));
        child.stdout.pipe(options.output);
      }
      child.stderr.on("data", (chunk: Buffer) => {
        err = Buffer.concat([err, chunk]).subarray(-stderrTail);
      });
      child.stdin?.on("error", () => undefined); // EPIPE: the program ended without reading; its exit says why
      if (options.input instanceof Readable) {
        options.input.on("error", () => end(new HcError("COMMAND_FAILED", `${label}: its input ended with an error.`)));
        if (child.stdin !== null) options.input.pipe(child.stdin);
      } else child.stdin?.end(options.input);
      child.on("close", (code, signal) => {
        finish();
        if (failure !== undefined) return void reject(failure);
        resolve({ code: code ?? 128, signal, stdout: Buffer.concat(out).toString("utf8"), stderr: err.toString("utf8"), durationMs: performance.now() - started });
      });
    });
  }
}

/** A program that leads a process group, with its children. */
export function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

export function beNice(pid: number, niceness: number): void {
  try {
    setPriority(pid, niceness);
  } catch {
    // it has ended already, or may not be less nice than this process
  }
}
