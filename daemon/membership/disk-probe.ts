import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, sleepUntilTick } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import { isNoRoom } from "./reserve.js";

const everyMs = 2000;
/** OWNERSHIP 7. */
const trustedMs = 10_000;

/** Writes and fsyncs a small file every 2 s, and says since when that has worked. A write that hangs never ends the loop's caller. */
export class DiskProbe {
  private lastOkMs = Number.NEGATIVE_INFINITY;
  private error = "not probed yet";

  public constructor(private readonly file: string, private readonly clock: Clock, private readonly write: (file: string) => Promise<void> = writeProbe) {}

  /** A probe of what is mounted on the file's folder: without the mount it fails, and nothing is written below it (a pool that is exported, or not imported yet). */
  public static onMount(file: string, clock: Clock): DiskProbe {
    return new DiskProbe(file, clock, async (path) => {
      const [own, above] = [await stat(dirname(path)), await stat(dirname(dirname(path)))];
      if (own.dev === above.dev) throw new Error(`nothing is mounted on ${dirname(path)}: the pool is not imported, or \`zfs mount -a\` was not run`);
      await writeProbe(path);
    });
  }

  /** "" when the last good probe is less than 10 s old. */
  public problem(): string {
    const ageMs = this.clock.monotonicMs() - this.lastOkMs;
    return ageMs < trustedMs ? "" : `the disks have not taken a write for ${Number.isFinite(ageMs) ? `${Math.round(ageMs / 1000)} s` : "as long as hcd runs"} (${this.file}: ${this.error})`;
  }

  /**
   * One probe. Its age counts from before the write was begun. "No room" is an answer too: a full pool makes no node dead, its sites go on and their writes are refused. (That a full pool's disks have stopped
   * is seen all the same as long as the reserve is there: reserve.ts.)
   */
  public async probe(): Promise<void> {
    const started = this.clock.monotonicMs();
    try {
      await this.write(this.file);
      this.lastOkMs = Math.max(this.lastOkMs, started);
      this.error = "";
    } catch (error) {
      this.error = messageOf(error);
      if (isNoRoom(error)) this.lastOkMs = Math.max(this.lastOkMs, started);
    }
  }

  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.probe();
      await sleepUntilTick(this.clock, everyMs, signal);
    }
  }
}

async function writeProbe(file: string): Promise<void> {
  const handle = await open(file, "w", 0o600);
  try {
    await handle.write(`${Date.now()}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
