import type { Readable, Writable } from "node:stream";
import { HcError } from "./errors.js";
import type { Logger } from "./log.js";

/** What is kept of a command's error text, and of its output where nothing else is said, in bytes. */
export const stderrTail = 64 * 1024;
export const defaultOutputBytes = 16 * 1024 * 1024;

/** What a command is given. Every command has a deadline and bounded output. */
export interface CommandOptions {
  timeoutMs: number;
  /** Bytes for standard input, or a stream; none: empty input. */
  input?: string | Buffer | Readable;
  /** Where standard output goes; none: kept (bounded). */
  output?: Writable;
  /** Additional environment. Values never reach a process list. */
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  /** Bound of kept standard output in bytes (default 16 MiB); more is the error LIMIT_EXCEEDED. */
  maxOutputBytes?: number;
  /** Texts that are replaced by "[secret]" in errors and logs. */
  secrets?: readonly string[];
  signal?: AbortSignal;
}

/** A finished command. A non-zero exit is a value: whether it is an error is decided higher up. */
export interface CommandResult {
  code: number;
  signal: string | null;
  stdout: string;
  /** The last 64 KiB. */
  stderr: string;
  durationMs: number;
}

/**
 * The one way to run a program: argv arrays only, never a shell line; where a shell stands between (SSH, kept shells), quote.ts is the only way in. Local, SSH and fake runners pass the contract
 * suite in test/contract. Throws COMMAND_TIMEOUT, COMMAND_NOT_FOUND, LIMIT_EXCEEDED, ABORTED; SSH also UNREACHABLE & co.
 */
export interface CommandRunner {
  run(argv: readonly string[], options: CommandOptions): Promise<CommandResult>;
}

/** Tells each command's end and time at level debug. */
export function logged(runner: CommandRunner, log: Pick<Logger, "debug">): CommandRunner {
  return {
    run: async (argv, options) => {
      const result = await runner.run(argv, options);
      log.debug({ argv: argv.slice(0, 8).map((word) => redact(word, options.secrets)), exit: result.code, durationMs: Math.round(result.durationMs) }, "command ended");
      return result;
    },
  };
}

export function redact(text: string, secrets: readonly string[] = []): string {
  return secrets.reduce((seen, secret) => (secret === "" ? seen : seen.split(secret).join("[secret]")), text);
}

/** Runs and throws COMMAND_FAILED on a non-zero exit; returns standard output. */
export async function runOk(runner: CommandRunner, argv: readonly string[], options: CommandOptions): Promise<string> {
  const result = await runner.run(argv, options);
  if (result.code !== 0) throw commandFailed(argv, result, options.secrets);
  return result.stdout;
}

export function commandFailed(argv: readonly string[], result: CommandResult, secrets: readonly string[] = []): HcError {
  const tail = result.stderr.trim().split("\n").slice(-5).join(" | ") || result.stdout.trim().split("\n").slice(-5).join(" | ");
  const how = result.signal === null ? `exit ${result.code}` : `signal ${result.signal}`;
  return new HcError("COMMAND_FAILED", redact(`${argv.slice(0, 6).join(" ")}: ${how}${tail === "" ? "" : `: ${tail}`}`, secrets), {
    context: { argv0: argv[0], exit: result.code },
  });
}
