import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import { machineMs } from "../../daemon/lib/clock.js";
import type { TestLab, TestNode } from "./lab.js";

const pollMs = 20;
const place = "/sys/class/watchdog/watchdog0";

const wdctl = (seconds: number): string => `#!/bin/sh
[ "$*" = "--oneline --settimeout ${seconds} /dev/watchdog0" ] || exit 1
echo ${seconds} > ${place}/timeout
echo "Timeout has been set to ${seconds} seconds."
echo '/dev/watchdog0: VERSION="0" IDENTITY="stand-in of the lab" TIMEOUT="${seconds}" MAGICCLOSE="0" MAGICCLOSE_BOOT="0"'
`;

/**
 * A watchdog for a lab node, which has no hardware: a fifo in its /dev, facts where the kernel has them, a wdctl(8) that answers as util-linux' does, and outside the node this reader, which does what the kernel's watchdog_dev.c
 * does: fed by each byte, disarmed by "V" just before a close, fed once more by a close without it, and a power cut when it was not fed for its timeout. It says nothing about real devices and their drivers.
 */
export class WatchdogStandIn {
  public readonly device = "/dev/watchdog0";
  /** By machineMs. */
  public resetAtMs: number | undefined;
  public armedSinceMs: number | undefined;
  /** What happened, in order: "armed", "closed armed", "disarmed". */
  public readonly history: string[] = [];
  public longestGapMs = 0;
  /** Only note the reset: the machine goes on. */
  public harmless = false;
  private fedMs: number | undefined;
  private last = "";
  private written = false;
  private cut: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private fd = -1;

  private constructor(private readonly node: TestNode, private readonly root: string, private readonly timeoutMs: number) {}

  public static async place(lab: TestLab, node: TestNode, timeoutS = 5): Promise<WatchdogStandIn> {
    const pid = lab.lab.pid(await lab.lab.node(node.name));
    if (pid === undefined) throw new Error(`${node.name} does not run`);
    const facts = { identity: "stand-in of the lab", state: "inactive", nowayout: "0", timeout: "60", bootstatus: "0" };
    await node.sh(`if [ -d /sys/class/watchdog ]; then mount -t tmpfs tmpfs /sys/class/watchdog; else mount -t tmpfs tmpfs /sys/class; fi
      mkdir -p ${place}; mkfifo -m 600 /dev/watchdog0; ${Object.entries(facts).map(([name, value]) => `echo '${value}' > ${place}/${name}`).join("; ")}`);
    await node.ok(["tee", "/usr/local/sbin/wdctl"], { input: wdctl(timeoutS) });
    await node.sh("chmod 755 /usr/local/sbin/wdctl");
    const made = new WatchdogStandIn(node, `/proc/${pid}/root`, timeoutS * 1000);
    made.fd = openSync(`${made.root}/dev/watchdog0`, constants.O_RDONLY | constants.O_NONBLOCK);
    made.timer = setInterval(() => made.look(), pollMs);
    return made;
  }

  public async remove(): Promise<void> {
    clearInterval(this.timer);
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    await this.cut;
  }

  public armed(): boolean {
    return this.fedMs !== undefined;
  }

  private look(): void {
    const nowMs = machineMs();
    const bytes = Buffer.alloc(4096);
    let count = 0;
    let closed = false;
    try {
      count = readSync(this.fd, bytes, 0, bytes.length, null);
      closed = count === 0; // no writer
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error; // a writer that writes nothing
    }
    if (count > 0) {
      if (this.fedMs === undefined) this.tell("armed", "active");
      else this.longestGapMs = Math.max(this.longestGapMs, nowMs - this.fedMs);
      this.armedSinceMs ??= nowMs;
      this.fedMs = nowMs;
      this.written = true;
      this.last = bytes.toString("latin1", count - 1, count);
    } else if (closed && this.written) {
      this.written = false;
      const disarmed = this.last === "V";
      this.tell(disarmed ? "disarmed" : "closed armed", disarmed ? "inactive" : "active");
      this.fedMs = disarmed ? undefined : nowMs;
    }
    if (this.fedMs !== undefined && nowMs - this.fedMs > this.timeoutMs && this.cut === undefined) {
      this.resetAtMs = nowMs;
      this.fedMs = undefined;
      if (this.harmless) return;
      clearInterval(this.timer);
      this.cut = this.node.kill();
    }
  }

  private tell(what: string, state: string): void {
    this.history.push(what);
    try {
      writeFileSync(`${this.root}${place}/state`, `${state}\n`);
    } catch {
      // the node is gone
    }
  }
}
