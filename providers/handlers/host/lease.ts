import { PassThrough } from "node:stream";
import type { CommandRunner } from "../../../daemon/lib/command.js";
import { HcError, messageOf } from "../../../daemon/lib/errors.js";

type Platform = "linux" | "freebsd";
/** On Linux folders that are always there are locked, so nothing is left behind; lockf(1) removes its file itself. */
const places = { linux: { lease: "/run", work: "/var/lib" }, freebsd: { lease: "/var/run/hybridcluster.lease", work: "/var/run/hybridcluster.work" } } as const;

/** Pure: `argv` under a lock. flock(1) of util-linux, with -o so that what it leaves running does not inherit the lock; lockf(1) of FreeBSD, which knows only exclusive locks. */
export function lockedArgv(platform: Platform, place: "lease" | "work", shared: boolean, waitS: number, argv: readonly string[]): string[] {
  const path = places[platform][place];
  return platform === "freebsd" ? ["lockf", "-s", "-t", String(waitS), path, ...argv] : ["flock", "-o", shared ? "-s" : "-x", "-w", String(waitS), path, ...argv];
}

/**
 * One change of a host at a time. The *lease* is a lock held by a process of the SSH session, which ends with the session. A command that an orphan
 * (of a killed engine) has started goes on after that: so each command of `act`'s runner holds the *work* lock itself, and whoever gets the lease
 * waits until nobody does.
 */
export async function withLease<T>(runner: CommandRunner, platform: Platform, act: (leased: CommandRunner) => Promise<T>, waitS = 60): Promise<T> {
  const input = new PassThrough();
  const output = new PassThrough();
  const abort = new AbortController();
  let ended: string | undefined;
  const running = runner.run(lockedArgv(platform, "lease", false, waitS, ["sh", "-c", "echo held; exec cat >/dev/null"]), { timeoutMs: 60 * 60_000, input, output, signal: abort.signal }).then((result) => {
    ended = `exit ${result.code}`;
  }, (error: unknown) => {
    ended = messageOf(error);
    return error;
  });
  const held = new Promise<undefined>((resolve) => output.once("data", () => resolve(undefined)));
  const failure = await Promise.race([held, running]);
  if (ended !== undefined) throw failure instanceof HcError ? failure : new HcError("LOCKED", `Another run is changing this host (waited ${waitS} s: ${ended}).`, { retry: "never" });
  try {
    const idle = await runner.run(lockedArgv(platform, "work", false, waitS, ["true"]), { timeoutMs: (waitS + 10) * 1000 });
    if (idle.code !== 0) throw new HcError("LOCKED", `A command of an earlier, killed run is still working on this host (waited ${waitS} s).`, { retry: "never" });
    return await act({ run: (argv, options) => runner.run(lockedArgv(platform, "work", true, waitS, argv), options) });
  } finally {
    input.end();
    await Promise.race([running, new Promise((resolve) => setTimeout(resolve, 2_000).unref())]);
    abort.abort();
  }
}

