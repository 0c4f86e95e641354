import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Clock, sleepUntilTick } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import { isNoRoom } from "./reserve.js";

const everyMs = 2000;
/** OWNERSHIP 7. */
const trustedMs = 10_000;
/** A write without an answer for so long, ms, may have been lost on its way: another one is tried beside it, and no third (each keeps one of the process' few threads for file work). */
const againMs = 15_000;
const atOnce = 2;

/** Writes and fsyncs a small file every 2 s, and says since when that has worked. */
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
    const running = new Set<Promise<void>>();
    const stopped = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    while (!signal.aborted) {
      const probing = this.probe().finally(() => running.delete(probing));
      running.add(probing);
      const ended = new AbortController();
      const late = running.size < atOnce ? [this.clock.sleep(againMs, AbortSignal.any([signal, ended.signal])).catch(() => undefined)] : [];
      await Promise.race([stopped, ...running, ...late]);
      ended.abort();
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
