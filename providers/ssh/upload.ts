import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { commandFailed, type CommandRunner, runOk } from "../../daemon/lib/command.js";
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

const script = `umask 077; mkdir -p -m 755 "$(dirname "$2")" && rm -f "$2".new-* && cat > "$1" || exit 1
if command -v sha256sum >/dev/null 2>&1; then seen=$(sha256sum < "$1" | cut -d" " -f1); else seen=$(sha256 -q "$1"); fi
if [ "$seen" != "$4" ]; then rm -f "$1"; echo "$seen"; exit 65; fi
chmod "$3" "$1" && { sync "$1" 2>/dev/null || sync; } && mv -f "$1" "$2"`;

/** Writes a file on the host under a temporary name, checks the digest there, syncs, renames: in one command. Returns the digest. */
export async function upload(runner: CommandRunner, target: string, source: { file: string } | { text: string }, options: { mode: string; timeoutMs: number }): Promise<string> {
  const sha256 = "file" in source ? await sha256Of(source.file) : createHash("sha256").update(source.text).digest("hex");
  const argv = ["sh", "-c", script, "sh", `${target}.new-${process.pid}`, target, options.mode, sha256];
  const result = await runner.run(argv, { timeoutMs: options.timeoutMs, input: "file" in source ? createReadStream(source.file) : source.text });
  if (result.code === 65) throw new HcError("COMMAND_FAILED", `${target}: what arrived has digest ${result.stdout.slice(0, 12)}, not ${sha256.slice(0, 12)}.`, { retry: "transient" });
  if (result.code !== 0) throw commandFailed(["upload", target], result);
  return sha256;
}
