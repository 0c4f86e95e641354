import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lostVdevs, planPool, type PoolFacts } from "../../providers/handlers/zfs-pool/plan-pool.js";
import { parsePool } from "../../providers/handlers/zfs-pool/look-pool.js";
import type { ZfsPoolInputs } from "../../providers/schemas/zfs-pool.js";

/** One folder a case, as in host-plan.test.ts. UPDATE_GOLDEN=1 writes plan.json anew. */
const folder = join(process.cwd(), "test/fixtures/pool-plan");
const base = { name: "fra1-pool", pool: "hpool", vdevs: [], properties: {}, compatibility: "", adopt: false, under: "hc", ephemeral: false, allowReplace: "" } as unknown as ZfsPoolInputs;

describe("plan of a pool", () => {
  it.each(readdirSync(folder))("%s", (name) => {
    const { inputs, facts } = JSON.parse(readFileSync(join(folder, name, "input.json"), "utf8")) as { inputs: Partial<ZfsPoolInputs>; facts: PoolFacts };
    const plan = planPool({ ...base, ...inputs }, facts, "/hc");
    const file = join(folder, name, "plan.json");
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, `${JSON.stringify(plan, null, 1)}\n`);
    expect(plan).toEqual(JSON.parse(readFileSync(file, "utf8")));
    expect(JSON.stringify(plan)).not.toMatch(/destroy|"-f"/);
  });

  it("knows what a pool cannot give up", () => {
    expect(lostVdevs([{ disk: "ada1" }, { mirror: ["ada2", "ada3"] }], [{ mirror: ["ada2", "ada3"] }, { disk: "ada9" }])).toEqual([{ disk: "ada1" }]);
    expect(lostVdevs([{ file: "/d", size: "1G" }], [{ file: "/d", size: "2G" }])).toEqual([]);
    expect(lostVdevs([{ mirror: ["a", "b"] }], [{ raidz1: ["a", "b"] }])).toEqual([{ mirror: ["a", "b"] }]);
  });
});

describe("a look at a pool", () => {
  it("reads devices, marks and units", () => {
    const text = ["exists\tyes", "device\thpool", "device\tmirror-0", "device\t/dev/ada1", "device\t/dev/ada2", "device\tlogs", "device\t/dev/nda0p1", "dataset\thpool\thybridcluster:pool\t-", "dataset\thpool\thybridcluster:unit\t-", "dataset\thpool/hc\thybridcluster:pool\tfra1-pool", "dataset\thpool/hc/site-a\thybridcluster:unit\tsite-a", "compatibility\tyes", ""].join("\n");
    expect(parsePool(text, "hpool")).toEqual({
      exists: true, importable: false, compatibilityKnown: true, files: [], devices: ["/dev/ada1", "/dev/ada2", "/dev/nda0p1"],
      datasets: [{ name: "hpool", mark: "", unit: false }, { name: "hpool/hc", mark: "fra1-pool", unit: false }, { name: "hpool/hc/site-a", mark: "", unit: true }],
    });
    expect(parsePool("importable\tyes\nfile\t/d\n", "hpool")).toMatchObject({ exists: false, importable: true, files: ["/d"] });
  });
});
