import type { NodeContext } from "../../../daemon/context.js";
import { HcError } from "../../../daemon/lib/errors.js";
import type { UnitRecord } from "../../../daemon/lib/records.js";
import { chooseOfOther } from "../../../daemon/vault/choose-source.js";
import { createFakeZfs, type FakeZfs } from "../../../daemon/zfs/fake-zfs.js";
import { fixedSession } from "../../support/fixed-session.js";

const root = "hpool/hc";
const dataset = `${root}/site-shop`;
const never = new AbortController().signal;
const zfsOf = (seed: string): FakeZfs => createFakeZfs({ seed });

/** n1, the home of site-copy, holds a copy of site-shop, whose home is n2; both belong to acme. */
async function world(shop: Partial<UnitRecord> = {}): Promise<{ here: FakeZfs; home: FakeZfs; choose: () => Promise<string>; away: () => void }> {
  const [here, home] = [zfsOf("n1"), zfsOf("n2")];
  for (const zfs of [here, home]) await zfs.create(root, {});
  let isAway = false;
  const record = (name: string, node: string): UnitRecord => ({ version: 1, unit: `site-${name}`, name, home: node, homeGeneration: 1, epoch: 2, replicas: [], state: "live" }) as unknown as UnitRecord;
  const units = new Map([["site-copy", { value: record("copy", "n1"), revision: "1" }], ["site-shop", { value: { ...record("shop", "n2"), ...shop }, revision: "1" }]]);
  const desired = new Map(["copy", "shop"].map((name) => [`site/${name}`, { value: { kind: "site", name, spec: { customer: "acme" } }, revision: "1" }]));
  const context = {
    zfs: here, host: { node: "n1" }, cluster: { node: "n1", dataset: root }, clock: { wallMs: () => Date.UTC(2026, 5, 1) }, session: fixedSession(1, () => true), view: { current: () => ({ units, desired }) },
    peers: { call: async (node: string) => {
      if (isAway) throw new HcError("UNREACHABLE", `${node} cannot be reached.`);
      const seen = await home.look(dataset);
      return { version: 1, exists: seen !== undefined, mounted: true, epoch: 2, holdsOrigin: false, snapshots: (seen?.snapshots ?? []).map(({ name, guid, createtxg, atMs }) => ({ name, guid, createtxg, atMs })) };
    } },
  } as unknown as NodeContext;
  return { here, home, choose: async () => (await chooseOfOther(context, "site-copy", "site-shop", "2026-05-01T00:00:00Z")).name, away: () => (isAway = true) };
}
const first = "1-20260101T000000.000Z-n2";
async function make(zfs: FakeZfs, name: string, user: Record<string, string> = {}): Promise<void> {
  await zfs.create(dataset, { "hybridcluster:unit": "site-shop", ...user });
  await zfs.snapshot([`${dataset}@${name}`]);
}
async function copy(from: FakeZfs, to: FakeZfs, user: Record<string, string>): Promise<void> {
  await to.receive(dataset, from.send(`${dataset}@${first}`, undefined, never).stream, { "hybridcluster:unit": "site-shop", ...user }, never);
}

test("a healthy copy is read, also one that is behind, and one that bears an older epoch still", async () => {
  const { here, home, choose } = await world();
  await make(home, first);
  await copy(home, here, { "hybridcluster:epoch": "1" });
  await home.snapshot([`${dataset}@2-20260102T000000.000Z-n2`]);
  expect(await choose()).toBe(first);
});
test("a former tenant's copy under the same name is not read, though the agent has written the present epoch onto it", async () => {
  const { here, home, choose } = await world();
  await make(home, "2-20260102T000000.000Z-n2");
  await make(here, first, { "hybridcluster:epoch": "2" });
  await expect(choose()).rejects.toMatchObject({ code: "IMPOSSIBLE_CHANGE", message: expect.stringContaining(`ends with ${first}, which its home n2 does not hold`) });
});
test("a copy with a tail that lost is not read", async () => {
  const { here, home, choose } = await world();
  await make(home, first);
  await copy(home, here, {});
  await here.snapshot([`${dataset}@1-20260102T000000.000Z-n1`]);
  await expect(choose()).rejects.toMatchObject({ code: "IMPOSSIBLE_CHANGE" });
});
test("where the home cannot be asked, nothing is read", async () => {
  const { here, home, choose, away } = await world();
  await make(home, first);
  await copy(home, here, {});
  away();
  await expect(choose()).rejects.toMatchObject({ code: "UNREACHABLE" });
});
test("at home here it is read once this session has taken it; what lies under a name that is just being made is not", async () => {
  for (const [shop, answer] of [[{}, first], [{ homeGeneration: 0 }, "NOT_READY"], [{ state: "creating" as const }, "NOT_READY"]] as const) {
    const { here, choose } = await world({ home: "n1", ...shop });
    await make(here, first);
    expect(await choose().catch((error: HcError) => error.code)).toBe(answer);
  }
});
