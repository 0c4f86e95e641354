import * as fc from "fast-check";
import { indexInName, labNet, maxNode, maxSubnet, nodeNet, preferredSubnet } from "../../../providers/lab/addresses.js";
import { groupFolders, parseMemberships } from "../../../providers/lab/cgroups.js";
import { tryingOrder } from "../../../providers/lab/entry-forward.js";
import { entryTarget } from "../../../providers/lab/entry-record.js";
import { dropRules } from "../../../providers/lab/links.js";
import { hostsText } from "../../../providers/lab/node-files.js";
import { listensOn } from "../../../providers/lab/node-process.js";
import { hasEnded, parseStat } from "../../../providers/lab/processes.js";
import { rootKey } from "../../../providers/lab/root-recipe.js";

describe("addresses", () => {
  it("follow from subnet and number", () => {
    expect(nodeNet(12, 3)).toEqual({ veth: "hcl12n3", mac: "02:00:4d:0c:00:0d", v4: "10.77.12.13", v6: "fd77:12::13" });
    expect(labNet(12)).toMatchObject({ bridge: "hcl12", gateways: { v4: "10.77.12.1/24", v6: "fd77:12::1/64" } });
  });
  it("never meet, and every name fits the kernel's 15 characters", () => {
    const place = fc.tuple(fc.integer({ min: 1, max: maxSubnet }), fc.integer({ min: 1, max: maxNode }));
    fc.assert(fc.property(place, place, ([s, i], [t, j]) => {
      const [one, two] = [nodeNet(s, i), nodeNet(t, j)];
      expect(one.veth.length).toBeLessThanOrEqual(15);
      if (s !== t || i !== j) for (const key of ["veth", "mac", "v4", "v6"] as const) expect(one[key]).not.toBe(two[key]);
      expect(one.mac).not.toBe(labNet(s).bridgeMac);
    }));
  });
  it("refuse numbers out of range", () => {
    for (const index of [0, 201, 1.5, Number.NaN]) expect(() => nodeNet(1, index)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
    for (const subnet of [0, 251]) expect(() => labNet(subnet)).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });
  it("take the number from a name where there is a usable one", () => {
    expect(["n3", "web-12", "n", "n0", "a999", "n200"].map(indexInName)).toEqual([3, 12, undefined, undefined, undefined, 200]);
  });
  it("prefer one subnet for one folder", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 8, maxLength: 64 }), (digest) => {
      const subnet = preferredSubnet(digest);
      expect(subnet).toBeGreaterThanOrEqual(1);
      expect(subnet).toBeLessThanOrEqual(maxSubnet);
      expect(preferredSubnet(digest)).toBe(subnet);
    }));
  });
});

describe("what a node sees", () => {
  it("is named in /etc/hosts with both families", () => {
    expect(hostsText(labNet(7), [{ name: "n1", index: 1 }, { name: "web", index: 5 }])).toBe(
      "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.77.7.11 n1\nfd77:7::11 n1\n10.77.7.15 web\nfd77:7::15 web\n");
  });
});

describe("control groups", () => {
  const hybrid = "9:name=systemd:/\n4:memory:/jobs/a\n1:cpu,cpuacct:/\n0::/\n";
  it("lie below the caller's in version 1 and hybrid layouts", () => {
    const exists = (path: string): boolean => ["systemd", "memory", "cpu,cpuacct", "unified"].some((name) => path === `/sys/fs/cgroup/${name}/cgroup.procs`);
    expect(groupFolders(parseMemberships(hybrid), "hcl7", "n1", exists)).toEqual([
      "/sys/fs/cgroup/systemd/hcl7/n1", "/sys/fs/cgroup/memory/jobs/a/hcl7/n1", "/sys/fs/cgroup/cpu,cpuacct/hcl7/n1", "/sys/fs/cgroup/unified/hcl7/n1",
    ]);
  });
  it("lie at the top in version 2, whatever session the caller is in", () => {
    const exists = (path: string): boolean => path === "/sys/fs/cgroup/cgroup.controllers";
    expect(groupFolders(parseMemberships("0::/user.slice/user-0.slice/session-3.scope\n"), "hcl7", "n1", exists)).toEqual(["/sys/fs/cgroup/hcl7/n1"]);
  });
  it("leave out hierarchies that are not mounted", () => {
    expect(groupFolders(parseMemberships(hybrid), "hcl7", "n1", () => false)).toEqual([]);
  });
});

describe("facts from /proc", () => {
  it("read state and start time behind any process name", () => {
    const rest = `S 1 ${"0 ".repeat(15)}7 0 4711 0 0`;
    expect(parseStat(`12 (a) b (c) ${rest}`)).toEqual({ state: "S", threads: 7, started: "4711" });
    expect(parseStat("12 (short) S 1")).toBeUndefined();
  });
  it("take a zombie for ended only when its last thread is (another one still holds the sockets)", () => {
    expect(["S", "Z", "X"].map((state) => [hasEnded({ state, threads: 1 }), hasEnded({ state, threads: 2 })])).toEqual([[false, false], [true, false], [true, true]]);
  });
  it("tell a listener on port 22 from a connection to it, and from other ports", () => {
    const row = (local: string, remote: string, state: string): string => `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000`;
    expect(listensOn(row("00000000:0016", "00000000:0000", "0A"), 22)).toBe(true);
    expect(listensOn(row("0B0A4D0A:0016", "010A4D0A:C000", "01"), 22)).toBe(false);
    expect(listensOn(row("00000000:1600", "00000000:0000", "0A"), 22)).toBe(false);
    expect(listensOn(row("0B0A4D0A:C000", "010A4D0A:0016", "01"), 22)).toBe(false);
  });
});

describe("one-way cuts", () => {
  it("drop both families of every sender, and heal to nothing", () => {
    const rules = dropRules([nodeNet(7, 2), nodeNet(7, 3)]);
    for (const address of ["ip saddr 10.77.7.12 drop", "ip6 saddr fd77:7::12 drop", "ip saddr 10.77.7.13 drop", "ip6 saddr fd77:7::13 drop"]) expect(rules).toContain(address);
    expect(dropRules([])).not.toContain("drop");
    expect(dropRules([])).toContain("delete table inet hybridcluster_lab");
  });
});

describe("the key of a root", () => {
  it("changes with Node's version", () => {
    expect(rootKey({ version: "24.9.0" })).toBe(rootKey({ version: "24.9.0" }));
    expect(rootKey({ version: "24.9.1" })).not.toBe(rootKey({ version: "24.9.0" }));
  });
});

describe("the local entry", () => {
  it("tries the last good target first and each one once", () => {
    expect(tryingOrder(3, 0)).toEqual([0, 1, 2]);
    expect(tryingOrder(3, 2)).toEqual([2, 0, 1]);
    fc.assert(fc.property(fc.integer({ min: 1, max: 20 }), fc.nat(19), (count, good) => {
      expect([...tryingOrder(count, good)].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    }));
  });
  it("speaks to lab nodes only from the machine's own address in the lab", () => {
    expect(entryTarget("10.77.12.13", 80)).toEqual({ host: "10.77.12.13", port: 80, localAddress: "10.77.12.1" });
    expect(entryTarget("fd77:12::13", 80)).toEqual({ host: "fd77:12::13", port: 80, localAddress: "fd77:12::1" });
    expect(entryTarget("192.0.2.5", 81)).toEqual({ host: "192.0.2.5", port: 81 });
  });
});
