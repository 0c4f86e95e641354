import { constants, readFileSync, realpathSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { basename } from "node:path";
import type { CommandRunner } from "../lib/command.js";
import { errorCode, messageOf } from "../lib/errors.js";
import { judgeSysfs, judgeWdctl, setTimeoutArgv, type SysfsFacts, sysfsNames, type Verdict, wasReset } from "./parse-watchdog.js";

const commandMs = 5_000;
/** linux/Documentation/watchdog/watchdog-api.rst, "Magic Close feature". */
const magic = "V";
const food = ".";

export type Prepared = Exclude<Verdict, { kind: "set" }>;

/** A watchdog of the machine: thin effects, decided by plan-watchdog.ts. */
export interface WatchdogDevice {
  /** Was this boot caused by it? */
  wasReset(): boolean;
  /** Sets and reads back the timeout, without arming. Call it only when the device may be fed: it may be running. */
  prepare(): Promise<Prepared>;
  /** Arms it; a running one runs on. Throws what open(2) says. */
  open(): Promise<void>;
  feed(): Promise<void>;
  /** Disarms it when `disarm`, else the kernel feeds it once more and lets it run. */
  close(disarm: boolean): Promise<void>;
}

export class LinuxWatchdog implements WatchdogDevice {
  private handle: FileHandle | undefined;

  public constructor(private readonly device: string, private readonly runner: CommandRunner, private readonly sysfs = "/sys/class/watchdog") {}

  public facts(): SysfsFacts {
    const folder = `${this.sysfs}/${basename(this.device)}`;
    return Object.fromEntries(sysfsNames.flatMap((name) => {
      try {
        return [[name, readFileSync(`${folder}/${name}`, "utf8").trim()]];
      } catch {
        return []; // not every kernel has all of them
      }
    }));
  }

  public wasReset(): boolean {
    return wasReset(this.facts());
  }

  public async prepare(): Promise<Prepared> {
    const seen = judgeSysfs(this.device, this.facts());
    if (seen.kind !== "set") return seen;
    try {
      // a plain file there would take our bytes and guard nothing; a fifo is the lab's stand-in
      const found = await stat(this.device);
      if (!found.isCharacterDevice() && !found.isFIFO()) return { kind: "refused", why: `${this.device} is no device` };
      const verdict = judgeWdctl(this.device, await this.runner.run(setTimeoutArgv(this.device), { timeoutMs: commandMs }));
      return verdict.kind === "set" ? { kind: "refused", why: "wdctl did not tell" } : verdict;
    } catch (error) {
      return { kind: "refused", why: errorCode(error) === "COMMAND_NOT_FOUND" ? "wdctl is not installed (package util-linux)" : messageOf(error) };
    }
  }

  public async open(): Promise<void> {
    this.handle = await open(this.device, constants.O_WRONLY | constants.O_NONBLOCK);
  }

  public async feed(): Promise<void> {
    await this.handle?.write(food);
  }

  public async close(disarm: boolean): Promise<void> {
    const { handle } = this;
    this.handle = undefined;
    if (disarm) await handle?.write(magic);
    await handle?.close();
  }
}

/** Where `current` points: another artefact at the fencer's end is an upgrade. "" when it cannot be read. */
export function artefactOf(lib: string): string {
  try {
    return realpathSync(`${lib}/current`);
  } catch {
    return "";
  }
}
