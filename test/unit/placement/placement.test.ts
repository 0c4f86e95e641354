import fc from "fast-check";
import { type Candidate, chooseReplicas, place, type PlacementWish, surplusReplicas } from "../../../daemon/placement/placement.js";

const candidate = (node: string, more: Partial<Candidate> = {}): Candidate => ({ node, zone: "a", runtime: "linux-php8.2", alive: true, freeBytes: 900n, sizeBytes: 1000n, homes: 0, copies: 0, ...more });
const wish = (placement: Partial<PlacementWish["placement"]> = {}, copies = 2): PlacementWish => ({ placement: { prefer: [], require: [], avoid: [], pin: "", acrossZones: false, ...placement }, copies, runtime: "linux-php8.2" });
const three = [candidate("n1"), candidate("n2"), candidate("n3", { zone: "b" })];

describe("place", () => {
  test("spreads homes: fewest homes first, then fewest copies, then free space, then the name", () => {
    expect(place(wish(), three)).toEqual({ home: "n1", replicas: ["n2"] });
    expect(place(wish(), [candidate("n1", { homes: 1 }), candidate("n2", { copies: 1 }), candidate("n3")])).toMatchObject({ home: "n3" });
    expect(place(wish({}, 1), [candidate("n1"), candidate("n2", { freeBytes: 950n })])).toEqual({ home: "n2", replicas: [] });
  });
  test("prefer draws home and copies to nodes or zones, in the order written", () => {
    expect(place(wish({ prefer: ["b"] }), three)).toMatchObject({ home: "n3" });
    expect(place(wish({ prefer: ["n2", "b"] }), three)).toEqual({ home: "n2", replicas: ["n3"] });
  });
  test("require bounds all copies, pin names the home", () => {
    expect(place(wish({ require: ["a"] }, 3), three)).toEqual({ home: "n1", replicas: ["n2"] });
    expect(place(wish({ pin: "n3" }), three)).toMatchObject({ home: "n3" });
    expect(place(wish({ pin: "n3", require: ["a"] }), three)).toMatchObject({ problem: expect.stringContaining("n3") });
    expect(place(wish({ require: ["nowhere"] }), three)).toMatchObject({ problem: expect.stringContaining("nowhere") });
  });
  test("avoid is used when nothing else is left", () => {
    expect(place(wish({ avoid: ["a"] }), three)).toEqual({ home: "n3", replicas: ["n1"] });
  });
  test("acrossZones: the second copy goes to another zone, however full that is of copies", () => {
    expect(place(wish({ acrossZones: true, prefer: ["a"] }), [candidate("n1"), candidate("n2"), candidate("n3", { zone: "b", copies: 50, homes: 50 })])).toEqual({ home: "n1", replicas: ["n3"] });
  });
  test("of too many copies the oldest goes, so that a move's old home stays; a wish is stronger", () => {
    expect(surplusReplicas(wish(), three, "n2", ["n3", "n1"], 1)).toEqual(["n3"]);
    expect(surplusReplicas(wish(), three, "n2", ["n1", "n3"], 1)).toEqual(["n1"]);
    expect(surplusReplicas(wish({ acrossZones: true }), three, "n2", ["n3", "n1"], 1)).toEqual(["n1"]);
    expect(surplusReplicas(wish({ avoid: ["n1"] }), three, "n2", ["n3", "n1"], 1)).toEqual(["n1"]);
  });
  test("a nearly full node comes last", () => {
    expect(place(wish({ prefer: ["n1"] }), [candidate("n1", { freeBytes: 50n }), candidate("n2"), candidate("n3")])).toMatchObject({ home: "n2" });
  });
});

const nodes = fc.uniqueArray(fc.record({ node: fc.integer({ min: 1, max: 30 }).map((n) => `n${n}`), zone: fc.constantFrom("a", "b", "c"), runtime: fc.constantFrom("linux-php8.2", "linux-php8.4", "freebsd-php8.2"), alive: fc.boolean(), freeBytes: fc.bigInt({ min: 0n, max: 1000n }), sizeBytes: fc.constant(1000n), homes: fc.nat(5), copies: fc.nat(9) }), { selector: (one) => one.node, maxLength: 12 });
const names = fc.uniqueArray(fc.constantFrom<string[]>("a", "b", "c", "n1", "n2", "n3"), { maxLength: 3 });
const wishes = fc.record({ copies: fc.integer({ min: 1, max: 6 }), runtime: fc.constantFrom("linux-php8.2", "linux-php8.4"), placement: fc.record({ prefer: names, require: names, avoid: names, pin: fc.constantFrom("", "", "n1", "n2"), acrossZones: fc.boolean() }) });

describe("properties", () => {
  test("never mixes runtimes, never a dead node, never a node twice, never outside `require`, never more copies than wished", () => {
    fc.assert(fc.property(nodes, wishes, (all, one) => {
      const placed = place(one, all);
      if ("problem" in placed) return;
      const held = [placed.home, ...placed.replicas];
      expect(new Set(held).size).toBe(held.length);
      expect(held.length).toBeLessThanOrEqual(one.copies);
      for (const name of held) {
        const node = all.find((each) => each.node === name) as Candidate;
        expect(node.runtime).toBe(one.runtime);
        expect(node.alive).toBe(true);
        if (one.placement.require.length > 0) expect([node.node, node.zone].some((text) => one.placement.require.includes(text))).toBe(true);
      }
      if (one.placement.pin !== "") expect(placed.home).toBe(one.placement.pin);
    }));
  });
  test("the order in which nodes are listed does not matter", () => {
    fc.assert(fc.property(nodes, wishes, fc.integer(), (all, one, seed) => {
      const shuffled = [...all].sort((a, b) => ((seed * (a.node.length + Number(a.node.slice(1)))) % 7) - ((seed * (b.node.length + Number(b.node.slice(1)))) % 7));
      expect(place(one, shuffled)).toEqual(place(one, all));
    }));
  });
  test("as many copies as there are able nodes, up to the wish; acrossZones uses as many zones as it can", () => {
    fc.assert(fc.property(nodes, wishes, (all, one) => {
      const free = { ...one, placement: { ...one.placement, pin: "" } };
      const able = all.filter((node) => node.alive && node.runtime === one.runtime && (one.placement.require.length === 0 || [node.node, node.zone].some((text) => one.placement.require.includes(text))));
      const placed = place(free, all);
      if (able.length === 0) return expect(placed).toHaveProperty("problem");
      if ("problem" in placed) throw new Error(placed.problem);
      expect(placed.replicas.length + 1).toBe(Math.min(one.copies, able.length));
      if (one.placement.acrossZones) {
        const zones = new Set([placed.home, ...placed.replicas].map((name) => able.find((node) => node.node === name)?.zone));
        expect(zones.size).toBe(Math.min(placed.replicas.length + 1, new Set(able.map((node) => node.zone)).size));
      }
    }));
  });
  test("replicas already chosen are never chosen again; a surplus is taken only from what there is, and exactly the surplus", () => {
    fc.assert(fc.property(nodes, wishes, fc.nat(4), (all, one, count) => {
      const [home, ...rest] = all.map((node) => node.node);
      if (home === undefined) return;
      const present = rest.slice(0, 4);
      expect(chooseReplicas(one, all, [home, ...present], 3).some((node) => node === home || present.includes(node))).toBe(false);
      const surplus = surplusReplicas(one, all, home, present, count);
      expect(surplus.every((node) => present.includes(node))).toBe(true);
      expect(surplus).toHaveLength(Math.max(0, present.length - count));
    }));
  });
});
