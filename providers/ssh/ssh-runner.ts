import { Readable } from "node:stream";
import type { ClientChannel } from "ssh2";
import { type CommandOptions, type CommandResult, type CommandRunner, redact } from "../../daemon/lib/command.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { connectionTo, type SshTarget } from "./pool.js";
import { quote, quoteAll } from "./quote.js";

const stderrTail = 64 * 1024;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * The shell line for argv. `timeout(1)` ends the remote program when this side has gone; values of the environment come in by standard
 * input, never on the command line. Pure.
 */
export function remoteLine(argv: readonly string[], options: { timeoutMs: number; cwd?: string | undefined; env: boolean; user: string }): string {
  const seconds = Math.ceil(options.timeoutMs / 1000) + 2;
  const env = options.env ? 'while IFS= read -r hc_line && [ -n "$hc_line" ]; do export "$hc_line"; done; ' : "";
  const cwd = options.cwd === undefined ? "" : `cd ${quote(options.cwd)} || exit 126; `;
  const sudo = options.user === "root" ? "" : "sudo -n -- ";
  return `PATH=${path} LC_ALL=C.UTF-8; export PATH LC_ALL; ${env}${cwd}command -v ${quote(argv[0] ?? "")} >/dev/null 2>&1 || exit 127; exec ${sudo}timeout -k 2 ${seconds} ${quoteAll(argv)}`;
}

/** Runs programs on a host over a pooled SSH connection; passes the same contract suite as the local runner. */
export class SshRunner implements CommandRunner {
  public constructor(private readonly target: SshTarget) {}

  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const started = performance.now();
    const label = redact(`${argv.slice(0, 6).join(" ")} on ${this.target.address}`, options.secrets);
    if (options.signal?.aborted) throw new HcError("ABORTED", `${label}: cancelled before it began.`);
    for (const [name, value] of Object.entries(options.env ?? {})) if (value.includes("\n") || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new HcError("INVALID_INPUT", `environment ${name}: no line breaks, and names of A-Z, 0-9 and _`);
    const pooled = await connectionTo(this.target);
    const release = await pooled.place();
    try {
      const line = remoteLine(argv, { timeoutMs: options.timeoutMs, cwd: options.cwd, env: options.env !== undefined, user: this.target.user });
      const channel = await new Promise<ClientChannel>((resolve, reject) =>
        pooled.client.exec(line, (error, stream) => (error === undefined ? resolve(stream) : reject(new HcError("UNREACHABLE", `${label}: ${messageOf(error)}`, { cause: error })))));
      return await this.follow(channel, argv, options, label, started);
    } finally {
      release();
    }
  }

  private follow(channel: ClientChannel, argv: readonly string[], options: CommandOptions, label: string, started: number): Promise<CommandResult> {
    const limit = options.maxOutputBytes ?? 16 * 1024 * 1024;
    return new Promise((resolve, reject) => {
      const out: Buffer[] = [];
      let outBytes = 0;
      let err: Buffer = Buffer.alloc(0);
      let exit: { code: number | null; signal: string | null } | undefined;
      let failure: HcError | undefined;
      const end = (error: HcError): void => {
        failure ??= error;
        try {
          channel.signal("KILL");
        } catch {
          // the channel has ended by itself
        }
        channel.destroy();
        settle();
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
        if (exit === undefined) return void reject(new HcError("UNREACHABLE", `${label}: the connection broke; the command may still run.`, { retry: "unknown" }));
        const stderr = err.toString("utf8");
        if (exit.code === 127 && out.length === 0 && stderr === "") return void reject(new HcError("COMMAND_NOT_FOUND", `${argv[0]} is not installed on ${this.target.address}.`));
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
        err = Buffer.concat([err, chunk]).subarray(-stderrTail);
      });
      channel.on("exit", (code: number | null, signal?: string) => {
        exit = { code, signal: code === null ? (signal ?? "KILL") : null };
      });
      channel.on("error", () => undefined); // close follows
      channel.on("close", settle);
      if (options.env !== undefined) channel.write(`${Object.entries(options.env).map(([name, value]) => `${name}=${value}`).join("\n")}${Object.keys(options.env).length > 0 ? "\n" : ""}\n`);
      if (options.input instanceof Readable) {
        options.input.on("error", () => end(new HcError("COMMAND_FAILED", `${label}: its input ended with an error.`)));
        options.input.pipe(channel);
      } else channel.end(options.input ?? "");
    });
  }
}
