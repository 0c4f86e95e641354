import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { type CommandOptions, type CommandResult, type CommandRunner, defaultOutputBytes, redact, stderrTail } from "./command.js";
import { HcError } from "./errors.js";
import { beNice, commandEnvironment, killGroup, LocalRunner } from "./local-runner.js";
import { quoteAll } from "./quote.js";

/** Shells that are kept; a command for which none is free is started by this process. */
const most = 16;
/** Longer than any end of a command that is written: NUL, the key of the shell, the exit code. */
const endBytes = 64;

/**
 * Runs programs on this machine as `LocalRunner` does, but lets a waiting sh(1) start those that need neither input, folder nor environment of their own. To start a program Node copies the page tables of this process and stands still until
 * the program runs: 8 ms of CPU with 70 MB of heap (measured), and seconds altogether when the cores are busy, in which no sign of life is sent. A shell is small, and this process only writes a line.
 * `niceness` of what is run (nice(1)): a daemon must not wait behind a hundred of its own commands.
 * What differs, besides `signal`, which is null (a program that a signal ended has the exit code 128 + signal, sh(1), and may have that told on its error text):
 * 1. A command ends with its program, also while a child that it left behind holds its output. What such a child writes while nothing runs is dropped, and its shell not used again; what it writes during the next command of that shell is part
 *    of that one's output. It dies with the shell, when a later command misses its deadline. Nothing that hcd runs leaves children: daemons are systemd's, or begin a session of their own (daemon(8)).
 * 2. A program that makes a process group of its own, as timeout(1) does, is not ended at the deadline.
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
      const result = (await shell.run(file, argv, options)) ?? (await this.direct.run(argv, options));
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
    const found = statSync(path);
    return found.isFile() && (found.mode & 0o111) !== 0;
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
  /** The last bytes before the next chunk: a mark may come in pieces. */
  private before = Buffer.alloc(0);
  private end: ((ended: Ended) => void) | undefined;

  public constructor(private readonly mark: Buffer, private readonly keep: (parts: Buffer[], bytes: number) => Buffer[] | undefined) {}

  public next(): Promise<Ended> {
    this.clear();
    return new Promise((resolve) => (this.end = resolve));
  }
  /** "stray": of a child that outlived its command. */
  public take(chunk: Buffer): "kept" | "over" | "stray" {
    if (this.end === undefined) return "stray";
    this.parts.push(chunk);
    this.bytes += chunk.length;
    const seen = Buffer.concat([this.before, chunk]);
    const at = seen.lastIndexOf(this.mark);
    const [, code, rest] = at < 0 ? [] : (/^(\d*)\n(.*)$/s.exec(seen.subarray(at + this.mark.length).toString("latin1")) ?? []);
    if (code === undefined) {
      this.before = Buffer.from(seen.subarray(-endBytes));
      const kept = this.keep(this.parts, this.bytes);
      this.parts = kept ?? [];
      return kept === undefined ? "over" : "kept";
    }
    const all = Buffer.concat(this.parts);
    this.end({ code, output: all.subarray(0, all.length - (seen.length - at)) });
    this.clear();
    return rest === "" ? "kept" : "stray";
  }
  /** A shell that waits keeps nothing of its last command. */
  private clear(): void {
    [this.parts, this.bytes, this.before, this.end] = [[], 0, Buffer.alloc(0), undefined];
  }
}

/** One sh(1) in a process group of its own, which runs one program after the other. What does not end by itself ends with its shell. */
class Shell {
  private readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  /** No digit after the NUL: printf(1) would take it for a part of the octal number. */
  private readonly mark = `\0end-${randomBytes(12).toString("hex")} `;
  private readonly gone: Promise<void>;
  private readonly out: Output;
  private readonly err: Output;
  private limit = defaultOutputBytes;
  /** While a command runs: what is done when it writes too much, and when its shell has ended. */
  private over: (() => void) | undefined;
  private onGone: (() => void) | undefined;
  private how = "";
  public isEnded = false;

  public constructor(niceness: number | undefined) {
    this.child = spawn("/bin/sh", [], { env: commandEnvironment(), stdio: ["pipe", "pipe", "pipe"], detached: true });
    if (niceness !== undefined && this.child.pid !== undefined) beNice(this.child.pid, niceness);
    this.gone = new Promise((resolve) => {
      const ended = (how: string): void => {
        this.how ||= how;
        this.isEnded = true;
        setImmediate(() => this.onGone?.()); // what was not written to it is told before
        resolve();
      };
      this.child.on("error", (error) => ended(error.message));
      // not "close": that waits for whoever holds its output
      this.child.on("exit", (code, signal) => ended(signal === null ? `exit ${code}` : `signal ${signal}`));
    });
    this.out = new Output(Buffer.from(this.mark), (parts, bytes) => (bytes > this.limit + endBytes ? undefined : parts));
    this.err = new Output(Buffer.from(this.mark), (parts, bytes) => (bytes > 2 * stderrTail ? [Buffer.concat(parts).subarray(-(stderrTail + endBytes))] : parts));
    this.child.stdin.on("error", () => undefined); // the shell is gone: "exit" tells
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
  public async run(file: string, argv: readonly string[], options: CommandOptions): Promise<CommandResult | undefined> {
    const started = performance.now();
    const label = redact(argv.slice(0, 6).join(" "), options.secrets);
    let failure: HcError | undefined;
    let isTold = true;
    const end = (error: HcError): void => {
      failure ??= error;
      this.kill();
    };
    this.limit = options.maxOutputBytes ?? defaultOutputBytes;
    const tooMuch = (): HcError => new HcError("LIMIT_EXCEEDED", `${label}: more than ${this.limit} bytes of output.`, { retry: "never" });
    this.over = () => end(tooMuch());
    const timer = setTimeout(() => end(new HcError("COMMAND_TIMEOUT", `${label}: ended at its deadline of ${options.timeoutMs} ms.`)), options.timeoutMs);
    const onAbort = (): void => end(new HcError("ABORTED", `${label}: cancelled.`));
    options.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const told = `'\\0${this.mark.slice(1)}`;
      // one compound command: a line that was cut, because this process ended, is a syntax error and runs nothing
      const line = `{ ${quoteAll([file, ...argv.slice(1)])} </dev/null; c=$?; printf ${told}\\n' >&2; printf ${told}%s\\n' $c; }\n`;
      // no race with `gone`: each would leave a handler there for as long as the shell lives
      const answer = await new Promise<[Ended, Ended] | undefined>((resolve) => {
        this.onGone = () => resolve(undefined);
        void Promise.all([this.out.next(), this.err.next()]).then(resolve);
        this.child.stdin.write(line, (error) => {
          isTold = error === undefined || error === null;
          if (!isTold) resolve(undefined);
        });
      });
      if (failure !== undefined) {
        await this.gone;
        throw failure;
      }
      if (answer === undefined && !isTold) return undefined;
      if (answer === undefined) throw new HcError("COMMAND_FAILED", `${label}: its shell ended: ${this.how}.`);
      const [{ code, output }, error] = answer;
      if (output.length > this.limit) throw tooMuch();
      return { code: Number(code), signal: null, stdout: output.toString("utf8"), stderr: redact(error.output.subarray(-stderrTail).toString("utf8"), options.secrets), durationMs: performance.now() - started };
    } finally {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      this.over = undefined;
      this.onGone = undefined;
      if (this.isEnded) this.kill();
    }
  }

  private kill(): void {
    this.isEnded = true;
    if (this.how === "") killGroup(this.child); // else it has ended, and its number may be another's
  }
}
