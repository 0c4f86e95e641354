import type { Platform } from "../../daemon/platform/platform.js";

export interface PlatformSubject {
  platform: Platform;
  /** Numbers that are free here. */
  uid: number;
  /** Ends the main process of a service as a crash would. */
  crash(name: string): Promise<void>;
  /** Processes of a service, as the host sees them. */
  processes(name: string): Promise<number>;
}

const code = (act: Promise<unknown>): Promise<string | undefined> => act.then(() => undefined, (error: { code?: string }) => error.code);
async function eventually<T>(look: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const seen = await look();
    if (good(seen) || tries === 100) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** One suite for the fake and for real hosts. */
export function platformContract(name: string, subject: () => PlatformSubject): void {
  const service = { name: "hc-contract-a", description: "contract", argv: ["/bin/sh", "-c", "sleep 600 & sleep 601 & wait"], restart: "never" as const };
  const it = (): Platform => subject().platform;

  describe(`platform ${name}`, () => {
    afterAll(async () => {
      for (const left of ["hc-contract-a", "hc-contract-b"]) await it().removeService(left);
      await it().removeUser("hc-contract");
    });

    test("a service is defined once, started, stopped to the last process, and removed", async () => {
      expect(await it().defineService(service)).toBe(true);
      expect(await it().defineService(service)).toBe(false);
      expect((await it().serviceStates("hc-contract-")).get("hc-contract-a")).toBe("inactive");
      await it().startService("hc-contract-a");
      await it().startService("hc-contract-a");
      expect((await it().serviceStates("hc-contract-")).get("hc-contract-a")).toBe("active");
      expect(await subject().processes("hc-contract-a")).toBeGreaterThan(0);
      expect(await it().defineService({ ...service, description: "changed" })).toBe(true);
      await it().restartService("hc-contract-a");
      await it().stopService("hc-contract-a");
      expect(await subject().processes("hc-contract-a")).toBe(0);
      expect((await it().serviceStates("hc-contract-")).get("hc-contract-a")).toBe("inactive");
      await it().removeService("hc-contract-a");
      expect((await it().serviceStates("hc-contract-")).has("hc-contract-a")).toBe(false);
    });
    test("stopping and removing what is not there is success; starting it is not", async () => {
      await it().stopService("hc-contract-none");
      await it().removeService("hc-contract-none");
      expect(await code(it().startService("hc-contract-none"))).toBe("COMMAND_FAILED");
    });
    test("a crash is seen, and a stop clears it", async () => {
      await it().defineService({ ...service, name: "hc-contract-b" });
      await it().startService("hc-contract-b");
      await subject().crash("hc-contract-b");
      const seen = await eventually(async () => (await it().serviceStates("hc-contract-")).get("hc-contract-b"), (state) => state === "failed");
      expect(seen).toBe("failed");
      await it().stopService("hc-contract-b");
      expect((await it().serviceStates("hc-contract-b")).get("hc-contract-b")).toBe("inactive");
    });
    test("killed services are ended to the last process, and their supervisor starts none again", async () => {
      // deaf to TERM, restarted always: only the kill ends it
      await it().defineService({ ...service, name: "hc-contract-b", argv: ["/bin/sh", "-c", "trap '' TERM; sleep 600 & sleep 601 & wait; wait"], restart: "always" });
      await it().startService("hc-contract-b");
      await it().killServices(["hc-contract-none", "hc-contract-b"]);
      await eventually(() => subject().processes("hc-contract-b"), (left) => left === 0);
      // longer than the pause before a restart
      await new Promise((resolve) => setTimeout(resolve, 1200));
      expect(await subject().processes("hc-contract-b")).toBe(0);
      expect((await it().serviceStates("hc-contract-b")).get("hc-contract-b")).not.toBe("active");
      await it().stopService("hc-contract-b");
      await it().killServices([]);
    });
    test("users have the numbers that were asked for, or CONFLICT", async () => {
      const { uid } = subject();
      await it().ensureUser("hc-contract", uid, uid);
      await it().ensureUser("hc-contract", uid, uid);
      expect(await it().listUsers("hc-contract")).toEqual([{ user: "hc-contract", uid, gid: uid }]);
      expect(await code(it().ensureUser("hc-contract", uid + 1, uid + 1))).toBe("CONFLICT");
      expect(await code(it().ensureUser("hc-contract2", uid, uid))).toBe("CONFLICT");
      expect(await code(it().ensureUser("root; reboot", uid, uid))).toBe("INVALID_INPUT");
      await it().removeUser("hc-contract");
      await it().removeUser("hc-contract");
      expect(await it().listUsers("hc-contract")).toEqual([]);
    });
    test("runtime and memory are told", async () => {
      expect((await it().runtime()).php).toMatch(/^\d+\.\d+$/);
      const { totalBytes, availableBytes } = await it().memory();
      expect(totalBytes).toBeGreaterThan(availableBytes);
      expect(availableBytes).toBeGreaterThan(0);
      expect(await it().bootId()).toMatch(/^\S+$/);
    });
  });
}
