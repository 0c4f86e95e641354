import { Readable } from "node:stream";
import type { Client, ClientChannel } from "ssh2";
import { delay, withDeadline } from "../../daemon/lib/abort.js";
import { type CommandOptions, type CommandResult, type CommandRunner, defaultOutputBytes, redact, stderrTail } from "../../daemon/lib/command.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { connectionTo, type SshTarget } from "./pool.js";
import { quote, quoteAll } from "../../daemon/lib/quote.js";

/** To open a channel on a connection that stands. */
const openMs = 10_000;
/** For the end of a program that has passed its deadline. */
const killMs = 3_000;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Printed to standard error before the program's own: the process group that a deadline ends, or that there is no such program. */
const marker = /^hc:(?:pid ([0-9]+)|missing)\n/m;

/**
 * The shell line for argv. The login shell may be any (csh on FreeBSD), so it only sees one word of harmless characters, which sh(1) decodes.
 * `timeout(1)` ends the remote program when this side has gone; values of the environment come in by standard input, never on the
 * command line. Pure.
 */
export function remoteLine(argv: readonly string[], options: { timeoutMs: number; cwd?: string | undefined; env?: readonly string[] | undefined; user: string }): string {
  const seconds = Math.ceil(options.timeoutMs / 1000) + 2;
  const env = options.env === undefined ? "" : 'while IFS= read -r hc_line && [ -n "$hc_line" ]; do export "$hc_line"; done; ';
  const cwd = options.cwd === undefined ? "" : `cd ${quote(options.cwd)} || exit 126; `;
  const sudo = options.user === "root" ? "" : `sudo -n ${options.env === undefined || options.env.length === 0 ? "" : `--preserve-env=${options.env.join(",")} `}-- `;
  const script = `PATH=${path} LC_ALL=C.UTF-8; export PATH LC_ALL; ${env}${cwd}command -v ${quote(argv[0] ?? "")} >/dev/null 2>&1 || { echo hc:missing >&2; exit 127; }; echo "hc:pid $$" >&2; exec ${sudo}timeout -k 2 ${seconds} ${quoteAll(argv)}`;
  return `exec /bin/sh -c 'eval "$(printf %b "$0")"' '${encode(script)}'`;
}
/** Bytes outside a harmless set as octal escapes of printf(1)'s %b. */
function encode(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1").replace(/[^A-Za-z0-9_@%+=:,./ -]/g, (byte) => `\\0${byte.charCodeAt(0).toString(8).padStart(3, "0")}`);
}

type Exit = { code: number | null; signal: string | null };
interface Opened { channel: ClientChannel; exit: () => Exit | undefined }
function open(client: Client, line: string): Promise<Opened> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: unknown): void => reject(new HcError("UNREACHABLE", `No channel: ${messageOf(cause)}`, { cause }));
    try {
      client.exec(line, (error, channel) => {
        if (error !== undefined) return refuse(error);
        // at once: the exit of a short program may be in the same packet as the channel's confirmation
        let exit: Exit | undefined;
        channel.on("exit", (code: number | null, signal?: string) => {
          exit = { code, signal: code === null ? (signal ?? "KILL") : null };
        });
        resolve({ channel, exit: () => exit });
      });
    } catch (cause) {
      refuse(cause); // "Not connected" is thrown
    }
  });
}
function drained(channel: ClientChannel): Promise<void> {
  return new Promise((resolve) => {
    channel.on("error", () => undefined).on("close", () => resolve()).resume();
    channel.stderr.resume();
  });
}

/** Runs programs on a host over a pooled SSH connection; passes the same contract suite as the local runner. */
export class SshRunner implements CommandRunner {
  public constructor(private readonly target: SshTarget) {}

  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const started = performance.now();
    const label = redact(`${argv.slice(0, 6).join(" ")} on ${this.target.address}`, options.secrets);
    if (options.signal?.aborted) throw new HcError("ABORTED", `${label}: cancelled before it began.`);
    for (const [name, value] of Object.entries(options.env ?? {})) if (value.includes("\n") || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new HcError("INVALID_INPUT", `environment ${name}: no line breaks, and names of A-Z, 0-9 and _`);
    // it may end with an error while the channel is being opened: seen in follow()
    if (options.input instanceof Readable) options.input.on("error", () => undefined);
    const pooled = await connectionTo(this.target);
    const release = await pooled.place();
    try {
      const line = remoteLine(argv, { timeoutMs: options.timeoutMs, cwd: options.cwd, env: options.env === undefined ? undefined : Object.keys(options.env), user: this.target.user });
      const opened = await withDeadline(openMs, label, () => open(pooled.client, line));
      return await this.follow(pooled.client, opened, argv, options, label, started);
    } finally {
      release();
    }
  }

  private follow(client: Client, { channel, exit: exitOf }: Opened, argv: readonly string[], options: CommandOptions, label: string, started: number): Promise<CommandResult> {
    const limit = options.maxOutputBytes ?? defaultOutputBytes;
    return new Promise((resolve, reject) => {
      const out: Buffer[] = [];
      let outBytes = 0;
      let err: Buffer = Buffer.alloc(0);
      let failure: HcError | undefined;
      let group: string | undefined;
      let missing = false;
      let seen = false;
      let mark: () => void = () => undefined;
      const marked = new Promise<void>((done) => { mark = done; });
      const end = (error: HcError): void => {
        if (failure !== undefined) return;
        failure = error;
        // sshd passes no signals on in a root session (OpenSSH, session_signal_req): a second channel kills the group
        // a program that has not told its group yet is on its way: ended too, or it would wait for its input until its own deadline
        const killed = marked.then(() => group === undefined ? undefined : open(client, `exec /bin/sh -c '${this.target.user === "root" ? "" : "sudo -n "}kill -s KILL -- -${group}'`).then((kill) => drained(kill.channel)));
        void Promise.race([killed.catch(() => undefined), delay(killMs)]).then(() => {
          channel.destroy();
          settle();
        });
      };
      const timer = setTimeout(() => end(new HcError("COMMAND_TIMEOUT", `${label}: ended at its deadline of ${options.timeoutMs} ms.`)), options.timeoutMs);
      const onAbort = (): void => end(new HcError("ABORTED", `${label}: cancelled.`));
      options.signal?.addEventListener("abort", onAbort, { once: true });
      let settled = false;
      const settle = (): void => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        options.signal?.removeEventListener("abort", onAbort);
        if (failure !== undefined) return void reject(failure);
        const exit = exitOf();
        if (exit === undefined) return void reject(new HcError("UNREACHABLE", `${label}: the connection broke; the command may still run.`, { retry: "unknown" }));
        const stderr = err.toString("utf8");
        if (missing) return void reject(new HcError("COMMAND_NOT_FOUND", `${argv[0]} is not installed on ${this.target.address}.`));
        resolve({ code: exit.code ?? 128, signal: exit.signal, stdout: Buffer.concat(out).toString("utf8"), stderr, durationMs: performance.now() - started });
      };
      if (options.output === undefined)
        channel.on("data", (chunk: Buffer) => {
          outBytes += chunk.length;
          if (outBytes > limit) end(new HcError("LIMIT_EXCEEDED", `${label}: more than ${limit} bytes of output.`, { retry: "never" }));
          else out.push(chunk);
        });
      else {
        options.output.on("error", () => end(new HcError("COMMAND_FAILED", `${label}: its output could not be written.`)));
        channel.pipe(options.output);
      }
      channel.stderr.on("data", (chunk: Buffer) => {
        err = Buffer.concat([err, chunk]);
        const found = seen ? null : marker.exec(err.toString("latin1"));
        if (found !== null) {
          seen = true;
          group = found[1];
          missing = group === undefined;
          mark();
          err = Buffer.concat([err.subarray(0, found.index), err.subarray(found.index + found[0].length)]);
        }
        err = err.subarray(-stderrTail);
      });
      channel.on("error", () => undefined); // close follows
      channel.on("close", () => {
        mark();
        settle();
      });
      if (options.env !== undefined) channel.write(`${Object.entries(options.env).map(([name, value]) => `${name}=${value}`).join("\n")}${Object.keys(options.env).length > 0 ? "\n" : ""}\n`);
      if (options.input instanceof Readable) {
        options.input.on("error", () => end(new HcError("COMMAND_FAILED", `${label}: its input ended with an error.`)));
        options.input.pipe(channel);
        if (options.input.destroyed && !options.input.readableEnded) end(new HcError("COMMAND_FAILED", `${label}: its input ended with an error.`));
      } else channel.end(options.input ?? "");
      if (options.signal?.aborted === true) onAbort(); // while the channel was being opened
    });
  }
}
