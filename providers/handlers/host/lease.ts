import { PassThrough } from "node:stream";
import type { CommandRunner } from "../../../daemon/lib/command.js";
import { HcError, messageOf } from "../../../daemon/lib/errors.js";

/**
 * One change of a host at a time: a lock file on the host, held by a process of the SSH session, which ends with the session. So an orphan of
 * a killed engine and the next `up` never change one machine at once. flock(1) on Linux, lockf(1) on FreeBSD.
 */
export async function withLease<T>(runner: CommandRunner, platform: "linux" | "freebsd", act: () => Promise<T>, waitS = 60): Promise<T> {
  const hold = "echo held; exec cat >/dev/null";
  const file = platform === "freebsd" ? "/var/run/hybridcluster.lock" : "/run/hybridcluster.lock";
  const argv = platform === "freebsd" ? ["lockf", "-s", "-k", "-t", String(waitS), file, "sh", "-c", hold] : ["flock", "-w", String(waitS), file, "sh", "-c", hold];
  const input = new PassThrough();
  const output = new PassThrough();
  const abort = new AbortController();
  let ended: unknown;
  const running = runner.run(argv, { timeoutMs: 60 * 60_000, input, output, signal: abort.signal }).then((result) => {
    ended = `exit ${result.code}`;
  }, (error: unknown) => {
    ended = messageOf(error);
  });
  const held = new Promise<void>((resolve) => output.once("data", () => resolve()));
  await Promise.race([held, running]);
  if (ended !== undefined) throw new HcError("LOCKED", `Another run is changing this host (waited ${waitS} s for ${file}: ${ended}).`, { retry: "never" });
  try {
    return await act();
  } finally {
    input.end();
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, 2_000).unref())]);
    abort.abort();
  }
}
