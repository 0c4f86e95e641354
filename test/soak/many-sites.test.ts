import type { TrashRecord } from "../../daemon/lib/records.js";
import { delay } from "../../daemon/lib/abort.js";
import { HcProject } from "../support/hc-project.js";

// Must hold 12 of the walking skeleton, on real nodes: 300 sites dropped by mistake are refused; forced ones come back from the trash. HC_SOAK_SITES=N for another number.
// One copy each and four at a time: zfs-fuse walks lists, and three nodes with 200 mounted file systems each are more than two cores carry.
const count = Number(process.env["HC_SOAK_SITES"] ?? "300");
const minutes = 60_000;
jest.setTimeout(40 * minutes);
let project: HcProject;
const names = Array.from({ length: count }, (_, index) => `s${String(index).padStart(3, "0")}`);
const tell = (what: string, sinceMs: number): void => void process.stderr.write(`${what}: ${((performance.now() - sinceMs) / 1_000).toFixed(1)} s\n`);
async function allServing(withinMs: number): Promise<void> {
  const end = performance.now() + withinMs;
  for (;;) {
    const { units } = await project.status();
    const missing = names.filter((name) => units.find((unit) => unit.name === name)?.state !== "serving");
    if (missing.length === 0) return;
    if (performance.now() > end) throw new Error(`${missing.length} of ${count} do not serve: ${missing.slice(0, 5).join(", ")}`);
    await delay(2_000);
  }
}

beforeAll(() => {
  project = new HcProject(`many-${process.pid}`);
});
afterAll(async () => {
  expect(await project.remove()).toBe(0);
});

test(`${count} sites are made, dropped by mistake and refused, dropped by force, and come back from the trash`, async () => {
  project.wish.sites = Object.fromEntries(names.map((name) => [name, { replicas: 1 }]));
  let sinceMs = performance.now();
  const up = await project.hc(["up", "--yes", "--parallel", "4"], { timeoutMs: 25 * minutes });
  expect({ code: up.code, said: up.code === 0 ? "" : up.stdout.slice(-3000) + up.stderr.slice(-3000) }).toEqual({ code: 0, said: "" });
  tell(`up of ${count} sites`, sinceMs);
  await allServing(5 * minutes);
  sinceMs = performance.now();
  expect((await project.operate("preview")).planned).toEqual([]);
  tell("preview without a change", sinceMs);

  project.wish.sites = {};
  const refused = await project.operate("up");
  expect(refused.ran.code).toBe(4);
  expect(refused.error).toContain(`--allow-delete=${count}`);
  expect((await project.status()).units).toHaveLength(count);

  sinceMs = performance.now();
  const forced = await project.hc(["up", "--yes", "--allow-delete", String(count)], { timeoutMs: 25 * minutes });
  expect(forced.code).toBe(0);
  tell("dropped by force", sinceMs);
  const trash = await project.json<TrashRecord[]>(["trash", "list"]);
  expect(trash).toHaveLength(count);
  sinceMs = performance.now();
  const restored = await project.hc(["trash", "restore", ...trash.map(({ id }) => id)], { timeoutMs: 20 * minutes });
  expect({ code: restored.code, said: restored.stderr.slice(-3000) }).toEqual({ code: 0, said: "" });
  await allServing(20 * minutes);
  tell("restored and serving again", sinceMs);
});
