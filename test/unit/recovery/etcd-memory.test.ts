import { brokenBecause, type EtcdMemory, furthest, readMemory } from "../../../daemon/recovery/etcd-memory.js";
import type { RecoveryRecord } from "../../../daemon/lib/records.js";

const memory = (more: Partial<EtcdMemory> = {}): EtcdMemory => ({ version: 1, clusterId: "c-12345678", etcdCluster: "77", revision: "1000", lineage: 1, generation: 3, ...more });
const record = (lineage: number): RecoveryRecord => ({ version: 1, lineage, state: "done", reason: "", node: "n1", atMs: 0, excluded: [], detail: "" });

test.each<[string, EtcdMemory | undefined, { etcdCluster: string; revision: string }, RecoveryRecord | undefined, RegExp | ""]>([
  ["a node without memory", undefined, { etcdCluster: "1", revision: "5" }, undefined, ""],
  ["the same etcd, further on", memory(), { etcdCluster: "77", revision: "1001" }, record(1), ""],
  ["the same etcd, as it was", memory(), { etcdCluster: "77", revision: "1000" }, record(1), ""],
  ["a lower revision", memory(), { etcdCluster: "77", revision: "999" }, record(1), /at revision 999 and was at 1000/],
  ["numbers, not texts, are compared", memory({ revision: "999" }), { etcdCluster: "77", revision: "1000" }, record(1), ""],
  ["another etcd with a higher revision", memory(), { etcdCluster: "78", revision: "2000" }, record(1), /another one/],
  ["a backup from before the last recovery", memory(), { etcdCluster: "77", revision: "2000" }, undefined, /knows 0 recoveries of this cluster, there were 1/],
  ["another etcd in which a recovery of that lineage runs", memory(), { etcdCluster: "78", revision: "3" }, { ...record(1), state: "recovering" }, ""],
  ["a recovery that this node missed", memory(), { etcdCluster: "78", revision: "3" }, record(2), ""],
])("%s", (_what, known, seen, found, why) => {
  if (why === "") expect(brokenBecause(known, seen, found)).toBe("");
  else expect(brokenBecause(known, seen, found)).toMatch(why);
});

test("of several memories the one that knows most counts: lineage first, then the revision of the own etcd; other clusters' do not", () => {
  const own = memory();
  expect(furthest([undefined, memory({ revision: "5000" }), memory({ revision: "40" })], own)?.revision).toBe("5000");
  expect(furthest([memory({ lineage: 2, revision: "4", etcdCluster: "99" })], own)).toMatchObject({ lineage: 2, etcdCluster: "99" });
  expect(furthest([memory({ clusterId: "another-1", lineage: 9 })], own)).toBe(own);
  expect(furthest([memory({ etcdCluster: "99", revision: "9000" })], own)).toBe(own);
  expect(furthest([memory({ revision: "7" })], undefined)?.revision).toBe("7");
});

test("what is no memory of this cluster is none", () => {
  expect(readMemory(memory(), "c-12345678")).toEqual(memory());
  for (const bad of [null, 7, {}, memory({ clusterId: "c-87654321" }), { ...memory(), revision: "-1" }, { ...memory(), revision: 5 }, { ...memory(), lineage: -1 }, { ...memory(), lineage: 1.5 }, { ...memory(), version: 2 }])
    expect(readMemory(bad, "c-12345678")).toBeUndefined();
});
