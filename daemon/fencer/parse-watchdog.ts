import type { CommandResult } from "../lib/command.js";
import { askedS, takenS } from "./plan-watchdog.js";

/**
 * What Linux and wdctl(8) say of a watchdog. Pure. The texts are those of util-linux 2.38 (sys-utils/wdctl.c) and of the kernel's Documentation/ABI/testing/sysfs-class-watchdog; no real device was at hand.
 */
export interface SysfsFacts { identity?: string; state?: string; nowayout?: string; timeout?: string; bootstatus?: string }
export const sysfsNames = ["identity", "state", "nowayout", "timeout", "bootstatus"] as const satisfies readonly (keyof SysfsFacts)[];

/** "ready": it runs on from a fencer before, with the right timeout. "set": its timeout is to be set first. */
export type Verdict = { kind: "refused"; why: string } | { kind: "set" } | { kind: "ready"; timeoutMs: number; identity: string };

/** `wdctl` opens, disarms and closes the device twice; on a device that nobody can disarm that would start a reset, so sysfs is asked first. */
export const setTimeoutArgv = (device: string): string[] => ["wdctl", "--oneline", "--settimeout", String(askedS), device];

const fits = (seconds: number): boolean => Number.isInteger(seconds) && seconds >= takenS.least && seconds <= takenS.most;
const refused = (why: string): Verdict => ({ kind: "refused", why });

/** WDIOF_CARDRESET of linux/watchdog.h: this boot came after a reset by the watchdog. */
export const wasReset = ({ bootstatus }: SysfsFacts): boolean => (Number(bootstatus ?? 0) & 0x20) !== 0;

export function judgeSysfs(device: string, facts: SysfsFacts): Verdict {
  if (facts.identity === undefined) return refused(`the kernel shows no ${device} in /sys/class/watchdog; load its driver (Debian loads none by itself: name it in /etc/modules)`);
  if (facts.nowayout === undefined || facts.state === undefined) return refused(`the kernel does not say whether ${device} can be disarmed (CONFIG_WATCHDOG_SYSFS)`);
  if (facts.nowayout !== "0") return refused(`${device} can never be disarmed (nowayout): an upgrade or the removal of this Host would reset the machine; load its driver with nowayout=0`);
  const seconds = Number(facts.timeout);
  return facts.state === "active" && fits(seconds) ? { kind: "ready", timeoutMs: seconds * 1000, identity: facts.identity } : { kind: "set" };
}

/** `DEVICE: VERSION="0" IDENTITY="iTCO_wdt" TIMEOUT="5" … MAGICCLOSE="0" …`, after the line that tells what was set (also where that failed: the exit code counts). */
export function judgeWdctl(device: string, { code, stdout, stderr }: Pick<CommandResult, "code" | "stdout" | "stderr">): Verdict {
  if (code !== 0) return refused(`its timeout cannot be set to ${askedS} s: ${stderr.trim().split("\n").slice(-2).join("; ") || `wdctl exit ${code}`}`);
  const line = stdout.split("\n").find((each) => each.startsWith(`${device}:`)) ?? "";
  const value = (name: string): string | undefined => new RegExp(` ${name}="([^"]*)"`).exec(line)?.[1];
  if (value("ALARMONLY") !== undefined) return refused(`${device} only raises an alarm and resets nothing`);
  if (value("MAGICCLOSE") === undefined) return refused(`${device} is disarmed when its program dies (no magic close), so it guards nothing`);
  const seconds = Number(value("TIMEOUT"));
  if (!fits(seconds)) return refused(`its timeout was set to ${askedS} s and is ${value("TIMEOUT") ?? "not told"}; ${takenS.least} or ${takenS.most} s are needed`);
  return { kind: "ready", timeoutMs: seconds * 1000, identity: value("IDENTITY") ?? "" };
}
