import type { CommandRunner } from "../lib/command.js";

/** What the zfs of a machine can do beyond the common ground (LAB.md). Nothing may be used that was not found here. */
export interface ZfsCapabilities {
  /** First line of `zfs version`, "" when it does not tell. */
  version: string;
  bookmarks: boolean;
  /** `receive -s`, `send -t`. */
  resumeTokens: boolean;
  /** `send -w`. */
  rawSend: boolean;
  /** `send -c`. */
  compressedSend: boolean;
  /** `send -n -P` as an option of the command itself. */
  holdListing: boolean;
}

/**
 * Probed by usage texts and harmless questions about a name that cannot exist; nothing is changed. A command that zfs does not
 * know is answered with its usage; a known one complains about the missing dataset.
 */
export async function probeCapabilities(runner: CommandRunner): Promise<ZfsCapabilities> {
  const ask = async (...args: string[]): Promise<string> => {
    const result = await runner.run(["zfs", ...args], { timeoutMs: 10_000 });
    return `${result.stdout}\n${result.stderr}`;
  };
  const absent = "hc-no-such-pool/probe";
  const version = (await ask("version")).trim().split("\n")[0] ?? "";
  const fuse = /fuse/i.test(version);
  const knows = (answer: string): boolean => !/unrecognized command|invalid option|usage:|internal error|unsupported/i.test(answer);
  const bookmarks = knows(await ask("bookmark", `${absent}@a`, `${absent}#a`));
  const holdListing = knows(await ask("holds", "-H", `${absent}@a`));
  // the lab's zfs swallows send flags that its zfs-fuse lacks, so these are told by the usage text and the version together
  const usage = await ask("send");
  const flags = (letter: string): boolean => !fuse && new RegExp(`-[A-Za-z]*${letter}|\\[-[A-Za-z]*${letter}[A-Za-z]*\\]`).test(usage);
  return { version, bookmarks, resumeTokens: !fuse && /receive_resume_token|-t\b/.test(usage), rawSend: flags("w"), compressedSend: flags("c"), holdListing };
}
