import { unitText } from "../../cli/commands/site.js";
import { nodesTable, statusExit, statusText, unitsTable } from "../../cli/render/status.js";
import type { Status } from "../../daemon/lib/status.js";

const status: Status = {
  version: 1, cluster: "local", atMs: 0, health: "warning", leader: "n1",
  nodes: [
    { name: "n1", address: "10.77.1.11", addresses: ["10.77.1.11"], alive: true, zone: "a", role: "node", mayBeLost: false, drained: false, removing: false, hcd: { version: "0.1.0", sha256: "" }, pool: { name: "hpool", health: "ONLINE", sizeBytes: "2147483648", freeBytes: "1073741824" }, memory: { totalBytes: 1024 ** 3, availableBytes: 512 * 1024 ** 2 }, etcd: { role: "voter", healthy: true, fsyncMs: 1.23 }, runtime: "linux-php8.2", lastSeenS: 0 },
    { name: "n2", address: "10.77.1.12", addresses: ["10.77.1.12"], alive: false, zone: "", role: "node", mayBeLost: true, drained: true, removing: false, hcd: { version: "0.1.0", sha256: "" }, pool: null, memory: { totalBytes: 0, availableBytes: 0 }, etcd: { role: "voter", healthy: false, fsyncMs: null }, runtime: "linux-php8.2", lastSeenS: 12.4 },
  ],
  units: [{ id: "site-wiki", kind: "site", name: "wiki", origin: "api", home: "n1", epoch: 3, state: "serving", hostnames: ["a", "b", "c"], usedBytes: "1536", quota: "10G", replicas: [{ node: "n2", lagSeconds: null, snapshot: "", state: "down" }], error: "" }],
  attention: [{ severity: "warning", what: "n2 is not alive", command: "hc lab start n2" }],
};

test("tables for people", () => {
  expect(nodesTable(status.nodes)).toBe(
    "NODE  ADDRESS     ALIVE               ZONE  POOL          FREE          MEMORY FREE   ETCD (FSYNC)       MAY BE LOST\n" +
    "n1    10.77.1.11  yes                 a     hpool ONLINE  1.0G of 2.0G  512M of 1.0G  voter 1.2 ms       NO\n" +
    "n2    10.77.1.12  NO (12 s), drained  -     -             -             -             voter (unhealthy)  yes\n");
  expect(unitsTable(status.units)).toMatch(/^site-wiki \* {2}serving {2}n1 {4}3 {6}n2 \(\?\) +1\.5K {2}10G {4}a, b \+1$/m);
});
test("a site tells what may be missing on its copies, and whose wish that is; the answer of a version before does not", () => {
  const record = { unit: "site-wiki", state: "live", home: "n1", replicas: ["n2"], epoch: 1, origin: { template: "php", version: "1" }, runtime: { platform: "linux", php: "8.2" } };
  const text = (spec: object, rpoS?: number): string => unitText({ record, observed: {}, ready: true, document: { origin: "git", spec: { customer: "acme", template: "php", quota: "10G", hostnames: ["a"], ...spec } }, rpoS } as unknown as Parameters<typeof unitText>[0]);
  expect(text({}, 10)).toContain("\n  up to 10 s of writes may be missing on its copies (the cluster's rpoS)\n");
  expect(text({ replication: { rpoS: 300 } }, 300)).toContain("\n  up to 300 s of writes may be missing on its copies (its own rpoS)\n");
  expect(text({})).not.toContain("missing");
  record.replicas = [];
  expect(text({}, 10)).not.toContain("missing");
});
test("what needs a person comes with the next command; the exit code is for monitoring", () => {
  expect(statusText(status)).toContain("!  n2 is not alive\n   next: hc lab start n2");
  expect([statusExit(status), statusExit({ ...status, health: "ok" }), statusExit({ ...status, health: "critical" })]).toEqual([1, 0, 2]);
});
