import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { type CommandOptions, type CommandResult, type CommandRunner, redact } from "./command.js";
import { HcError } from "./errors.js";
import { beNice, commandEnvironment, defaultOutputBytes, LocalRunner, stderrTail } from "./local-runner.js";
import { quoteAll } from "./quote.js";

/** Shells that are kept; a command for which none is free is started by this process. */
const most = 16;
/** NUL, the key of the shell and the exit code: longer than any end that is written. */
const endBytes = 64;

/**
 * Runs programs on this machine as `LocalRunner` does, but lets a waiting sh(1) start those that need neither input, folder nor environment of their own. To start a program Node copies the page tables of this process and stands still until
 * the program runs: 8 ms of CPU with 70 MB of heap (measured), and seconds altogether when the cores are busy, in which no sign of life is sent. For a shell it is a tenth of a millisecond, and this process only writes a line.
 * `niceness` of what is run (nice(1)): a daemon must not wait behind a hundred of its own commands.
 * What differs: a program that a signal ended has the exit code 128 + signal (sh(1)), `signal` is null; a command ends with its program, also while a child that it left behind holds its output (a shell on which such a child writes later is
 * not used again).
 */
export class ShellRunner implements CommandRunner {
  private readonly direct: LocalRunner;
  private readonly free: Shell[] = [];
  private readonly shells = new Set<Shell>();
  private readonly found = new Map<string, string>();

  public constructor(private readonly niceness?: number) {
    this.direct = new LocalRunner(niceness);
  }

  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const file = this.find(argv[0] ?? "");
    const isPlain = options.input === undefined && options.output === undefined && options.env === undefined && options.cwd === undefined && options.signal?.aborted !== true;
    const shell = file !== undefined && isPlain ? this.take() : undefined;
    if (file === undefined || shell === undefined) return this.direct.run(argv, options);
    try {
      const result = (await shell.run([file, ...argv.slice(1)], options)) ?? (await this.direct.run(argv, options));
      if (result.code === 127 && !isProgram(file)) throw new HcError("COMMAND_NOT_FOUND", `${argv[0]} is not installed here any more.`);
      return result;
    } finally {
      if (shell.isEnded) this.shells.delete(shell);
      else this.free.push(shell);
    }
  }

  /** Lets the shells end; what runs is not ended by it. */
  public close(): void {
    for (const shell of this.shells) shell.close();
  }

  /** The one used last: the others may be swapped out. */
  private take(): Shell | undefined {
    for (let shell = this.free.pop(); shell !== undefined; shell = this.free.pop()) {
      if (!shell.isEnded) return shell;
      this.shells.delete(shell);
    }
    if (this.shells.size >= most) return undefined;
    const shell = new Shell(this.niceness);
    this.shells.add(shell);
    return shell;
  }

  /** An absolute path: sh(1) would take a builtin of the name first. What is not there is looked for again each time, it may be installed later. */
  private find(name: string): string | undefined {
    if (name.includes("/")) return name.startsWith("/") && isProgram(name) ? name : undefined;
    const known = this.found.get(name);
    if (known !== undefined && isProgram(known)) return known;
    const path = name === "" ? undefined : (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder.startsWith("/")).map((folder) => join(folder, name)).find(isProgram);
    if (path === undefined) this.found.delete(name);
    else this.found.set(name, path);
    return path;
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The text after the mark, and what was written before it. */
interface Ended { code: string; output: Buffer }

/** One output of a shell, read until the end of a command is told on it. */
class Output {
  private parts: Buffer[] = [];
  private bytes = 0;
  private end: ((code: string, output: Buffer) => void) | undefined;

  public constructor(private readonly mark: string, private readonly keep: (parts: Buffer[], bytes: number) => Buffer[] | undefined) {}

  public next(): Promise<Ended> {
    this.parts = [];
    this.bytes = 0;
    return new Promise((resolve) => (this.end = (code, output) => resolve({ code, output })));
  }
  /** "stray": of a child that outlived its command. */
  public take(chunk: Buffer): "kept" | "over" | "stray" {
    if (this.end === undefined) return "stray";
    this.parts.push(chunk);
    this.bytes += chunk.length;
    const tail = this.tail();
    const at = tail.lastIndexOf(this.mark);
    const [, code, rest] = at < 0 ? [] : (/^(\d*)\n(.*)$/s.exec(tail.slice(at + this.mark.length)) ?? []);
    if (code === undefined) {
      const kept = this.keep(this.parts, this.bytes);
      this.parts = kept ?? [];
      return kept === undefined ? "over" : "kept";
    }
    const all = Buffer.concat(this.parts);
    this.end(code, all.subarray(0, all.length - (tail.length - at)));
    this.end = undefined;
    return rest === "" ? "kept" : "stray";
  }
  /** The last bytes: an end may come in pieces. */
  private tail(): string {
    const last: Buffer[] = [];
    for (let at = this.parts.length - 1, bytes = 0; at >= 0 && bytes < endBytes; at -= 1) {
      const part = this.parts[at] as Buffer;
      last.unshift(part.subarray(Math.max(0, part.length - endBytes)));
      bytes += part.length;
    }
    return Buffer.concat(last).toString("latin1").slice(-endBytes);
  }
}

/** One sh(1) in a process group of its own, which runs one program after the other. What does not end by itself ends with its shell. */
class Shell {
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** No digit after the NUL: printf(1) would take it for a part of the octal number. */
  private readonly mark = `\0end-${randomBytes(12).toString("hex")} `;
  private readonly closed: Promise<void>;
  private readonly out: Output;
  private readonly err: Output;
  private limit = defaultOutputBytes;
  /** While a command runs: what is done when it writes too much, and when its shell has ended. */
  private over: (() => void) | undefined;
  private onClose: (() => void) | undefined;
  private how = "";
  public isEnded = false;

  public constructor(niceness: number | undefined) {
    this.child = spawn("/bin/sh", [], { env: commandEnvironment(), stdio: ["pipe", "pipe", "pipe"], detached: true });
    if (niceness !== undefined && this.child.pid !== undefined) beNice(this.child.pid, niceness);
    this.closed = new Promise((resolve) => {
      this.child.on("error", (error) => (this.how = error.message));
      this.child.on("close", (code, signal) => {
        this.how ||= signal === null ? `exit ${code}` : `signal ${signal}`;
        this.isEnded = true;
        this.onClose?.();
        resolve();
      });
    });
    this.out = new Output(this.mark, (parts, bytes) => (bytes > this.limit + endBytes ? undefined : parts));
    this.err = new Output(this.mark, (parts, bytes) => (bytes > 2 * stderrTail ? [Buffer.concat(parts).subarray(-(stderrTail + endBytes))] : parts));
    this.child.stdin.on("error", () => undefined); // the shell is gone: "close" tells
    for (const [stream, output] of [[this.child.stdout, this.out], [this.child.stderr, this.err]] as const)
      stream.on("data", (chunk: Buffer) => {
        const taken = output.take(chunk);
        if (taken === "over") this.over?.();
        if (taken !== "stray") return;
        this.isEnded = true; // not for another command
        if (this.over === undefined) this.kill();
      });
  }

  public close(): void {
    this.child.stdin.end();
  }

  /** Undefined: the shell had ended before, and nothing was run. */
  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult | undefined> {
    const started = performance.now();
    const label = redact(argv.slice(0, 6).join(" "), options.secrets);
    let failure: HcError | undefined;
    let isTold = true;
    const end = (error: HcError): void => {
      failure ??= error;
      this.kill();
    };
    this.limit = options.maxOutputBytes ?? defaultOutputBytes;
    this.over = () => end(new HcError("LIMIT_EXCEEDED", `${label}: more than ${this.limit} bytes of output.`, { retry: "never" }));
    const timer = setTimeout(() => end(new HcError("COMMAND_TIMEOUT", `${label}: ended at its deadline of ${options.timeoutMs} ms.`)), options.timeoutMs);
    const onAbort = (): void => end(new HcError("ABORTED", `${label}: cancelled.`));
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const told = `'\\0${this.mark.slice(1)}`;
      const line = `${quoteAll(argv)} </dev/null; c=$?; printf ${told}\\n' >&2; printf ${told}%s\\n' $c\n`;
      // no race with `closed`: each would leave a handler there for as long as the shell lives
      const answer = await new Promise<[Ended, Ended] | undefined>((resolve) => {
        this.onClose = () => resolve(undefined);
        void Promise.all([this.out.next(), this.err.next()]).then(resolve);
        this.child.stdin.write(line, (error) => (isTold = error === undefined || error === null));
      });
      if (failure !== undefined) {
        await this.closed; // the program is gone when its command has failed
        throw failure;
      }
      if (answer === undefined && !isTold) return undefined;
      if (answer === undefined) throw new HcError("COMMAND_FAILED", `${label}: its shell ended: ${this.how}.`);
      const [{ code, output }, error] = answer;
      return { code: Number(code), signal: null, stdout: output.toString("utf8"), stderr: error.output.subarray(-stderrTail).toString("utf8"), durationMs: performance.now() - started };
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      this.over = undefined;
      this.onClose = undefined;
      if (this.isEnded) this.kill();
    }
  }

  private kill(): void {
    this.isEnded = true;
    if (this.how !== "") return; // it has ended, and its number may be another's
    try {
      if (this.child.pid !== undefined) process.kill(-this.child.pid, "SIGKILL");
    } catch {
      this.child.kill("SIGKILL");
    }
  }
}
