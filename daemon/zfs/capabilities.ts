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

const absent = "hc-no-such-pool/probe";
const asking = (runner: CommandRunner) => async (...args: string[]): Promise<string> => {
  const result = await runner.run(["zfs", ...args], { timeoutMs: 10_000 });
  return `${result.stdout}\n${result.stderr}`;
};
const knows = (answer: string): boolean => !/unrecognized command|invalid option|usage:|internal error|unsupported/i.test(answer);

/**
 * Probed by usage texts and harmless questions about a name that cannot exist; nothing is changed. A command that zfs does not
 * know is answered with its usage; a known one complains about the missing dataset.
 */
export async function probeCapabilities(runner: CommandRunner): Promise<ZfsCapabilities> {
  const ask = asking(runner);
  const version = (await ask("version")).trim().split("\n")[0] ?? "";
  const fuse = /fuse/i.test(version);
  // OpenZFS 2.1.11 complains, and tells the usage of this one command besides
  const bookmark = await ask("bookmark", `${absent}@a`, `${absent}#a`);
  const bookmarks = knows(bookmark) || /^\s*bookmark </m.test(bookmark);
  const holdListing = await probeHoldListing(runner);
  const usage = await ask("send");
  const flags = (letter: string): boolean => !fuse && new RegExp(`-[A-Za-z]*${letter}|\\[-[A-Za-z]*${letter}[A-Za-z]*\\]`).test(usage);
  return { version, bookmarks, resumeTokens: !fuse && tokens(usage), rawSend: flags("w"), compressedSend: flags("c"), holdListing };
}
// the lab's zfs swallows send flags that its zfs-fuse lacks, so these are told by the usage text and the version together
const tokens = (usage: string): boolean => /receive_resume_token|-t\b/.test(usage);

/** Resume tokens alone, for each start of hcd: one command where the version says enough, else two. */
export async function probeResumeTokens(runner: CommandRunner): Promise<boolean> {
  const ask = asking(runner);
  return !/fuse/i.test(await ask("version")) && tokens(await ask("send"));
}

/** `zfs holds` alone: which tags hold a snapshot, not only how many. One command. */
export const probeHoldListing = async (runner: CommandRunner): Promise<boolean> => knows(await asking(runner)("holds", "-H", `${absent}@a`));
