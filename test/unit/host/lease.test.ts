import { once } from "node:events";
import { PassThrough } from "node:stream";
import { LocalRunner } from "../../../daemon/lib/local-runner.js";
import { lockedArgv, withLease } from "../../../providers/handlers/host/lease.js";

/** With this machine's own flock(1). */
const runner = new LocalRunner();

/** A door that somebody opens. */
function gate(): { open: () => void; opened: Promise<void> } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => { open = resolve; });
  return { open, opened };
}

describe("the lease on a host", () => {
  it("is held by one at a time", async () => {
    const order: string[] = [];
    const [inside, leave] = [gate(), gate()];
    const first = withLease(runner, "linux", async (leased) => {
      expect((await leased.run(["sh", "-c", "echo in; exit 3"], { timeoutMs: 10_000 }))).toMatchObject({ code: 3, stdout: "in\n" });
      inside.open();
      await leave.opened;
      order.push("first");
    });
    await inside.opened;
    await expect(withLease(runner, "linux", async () => order.push("never"), 0)).rejects.toMatchObject({ code: "LOCKED" });
    const second = withLease(runner, "linux", async () => order.push("second"));
    leave.open();
    await Promise.all([first, second]);
    expect(order).toEqual(["first", "second"]);
  }, 30_000);

  it("waits for a command that a killed run has left working", async () => {
    const input = new PassThrough();
    const output = new PassThrough();
    const orphan = runner.run(lockedArgv("linux", "work", true, 0, ["sh", "-c", "echo begun; exec cat"]), { timeoutMs: 20_000, input, output });
    await once(output, "data");
    await expect(withLease(runner, "linux", async () => "in", 0)).rejects.toMatchObject({ code: "LOCKED", message: expect.stringContaining("earlier, killed run") });
    const waiting = withLease(runner, "linux", async () => "in");
    input.end();
    expect((await orphan).code).toBe(0);
    expect(await waiting).toBe("in");
  }, 30_000);

  it("is given back when the act fails", async () => {
    await expect(withLease(runner, "linux", async () => { throw new Error("no"); })).rejects.toThrow("no");
    expect(await withLease(runner, "linux", async () => "in", 0)).toBe("in");
  }, 30_000);

  it("uses each system's own tool", () => {
    expect(lockedArgv("linux", "work", true, 60, ["pkg", "x"]).join(" ")).toBe("flock -o -s -w 60 /var/lib pkg x");
    expect(lockedArgv("freebsd", "lease", false, 60, ["pkg", "x"]).join(" ")).toBe("lockf -s -t 60 /var/run/hybridcluster.lease pkg x");
  });
});
