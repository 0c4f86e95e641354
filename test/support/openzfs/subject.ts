import { createZfs } from "../../../daemon/zfs/create-zfs.js";
import { LocalRunner } from "../../../daemon/lib/local-runner.js";
import type { ZfsSubject } from "../../contract/zfs.js";
import { ensureImage } from "./image.js";
import { type Machine, startMachine } from "./machine.js";

/** For a test file: a machine with the real OpenZFS, booted before its tests and gone after them. Its members can be used from within tests and hooks. */
export function withOpenZfs(pools: readonly string[] = ["one", "two"]): { readonly machine: Machine } {
  let made: Machine | undefined;
  beforeAll(async () => {
    const local = new LocalRunner();
    made = await startMachine(local, await ensureImage(local), pools);
  }, 10 * 60_000);
  afterAll(async () => { await made?.destroy(); }, 60_000);
  return {
    get machine() {
      if (made === undefined) throw new Error("the OpenZFS machine of this test file is not there (yet)");
      return made;
    },
  };
}

/** A pool of the machine as a subject of the ZFS contract. */
export function poolSubject(machine: Machine, pool: string): ZfsSubject {
  const zfs = createZfs(machine.runner);
  const mountpoint = async (dataset: string): Promise<string> => (await machine.ok(["zfs", "get", "-Hp", "-o", "value", "mountpoint", dataset])).trim();
  return {
    zfs,
    root: pool,
    async write(dataset, file, text) {
      await machine.ok(["dd", `of=${await mountpoint(dataset)}/${file}`, "conv=fsync", "status=none"], { input: text });
      // fsync reaches the intent log only; what `written` counts is in a transaction group
      await machine.ok(["zpool", "sync", pool]);
    },
    async read(dataset, file) {
      const result = await machine.runner.run(["cat", `${await mountpoint(dataset)}/${file}`], { timeoutMs: 60_000 });
      return result.code === 0 ? result.stdout : undefined;
    },
  };
}
