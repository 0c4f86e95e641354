import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { type CommandRunner, runOk } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";

export async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Digest of a file on the host ("" when it is missing). sha256sum on Linux, sha256(1) on FreeBSD. */
export async function remoteSha256(runner: CommandRunner, path: string): Promise<string> {
  const script = 'if [ ! -f "$1" ]; then exit 0; fi; if command -v sha256sum >/dev/null 2>&1; then sha256sum "$1" | cut -d" " -f1; else sha256 -q "$1"; fi';
  return (await runOk(runner, ["sh", "-c", script, "sh", path], { timeoutMs: 60_000 })).trim();
}

/** Writes a file on the host under a temporary name, checks the digest there, syncs, renames. */
export async function upload(runner: CommandRunner, target: string, source: { file: string } | { text: string }, options: { mode: string; timeoutMs: number }): Promise<string> {
  const sha256 = "file" in source ? await sha256Of(source.file) : createHash("sha256").update(source.text).digest("hex");
  const temporary = `${target}.new-${process.pid}`;
  const input = "file" in source ? createReadStream(source.file) : source.text;
  try {
    await runOk(runner, ["sh", "-c", 'umask 077; mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", temporary], { timeoutMs: options.timeoutMs, input });
    const seen = await remoteSha256(runner, temporary);
    if (seen !== sha256) throw new HcError("COMMAND_FAILED", `${target}: what arrived has digest ${seen.slice(0, 12)}, not ${sha256.slice(0, 12)}.`, { retry: "transient" });
    await runOk(runner, ["sh", "-c", 'chmod "$3" "$1" && sync && mv -f "$1" "$2"', "sh", temporary, target, options.mode], { timeoutMs: options.timeoutMs });
  } catch (error) {
    await runner.run(["rm", "-f", temporary], { timeoutMs: 10_000 }).catch(() => undefined);
    throw error;
  }
  return sha256;
}
