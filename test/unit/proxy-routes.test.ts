import type { UnitRecord } from "../../daemon/lib/records.js";
import { buildRoutes } from "../../daemon/proxy/routes.js";
import { emptyPicture } from "../../daemon/state/apply.js";
import type { ClusterState } from "../../daemon/state/cluster-state.js";

const unit = (name: string): [string, { value: UnitRecord; revision: string }] => [`site-${name}`, { value: { version: 1, unit: `site-${name}`, kind: "site", name, home: "n1", homeGeneration: 1, epoch: 3, epochStartGuid: "1", replicas: [], state: "live", runtime: { platform: "linux", php: "8.2" }, origin: { template: "php", version: "1", guid: "2" } }, revision: "1" }];
function table(documents: readonly { kind: string; name: string; spec: object }[]) {
  const desired = new Map(documents.map((document) => [`${document.kind}/${document.name}`, { value: { version: 1, origin: "git", ...document }, revision: "1" }]));
  return buildRoutes({ ...emptyPicture.state, units: new Map(documents.filter(({ kind }) => kind === "site").map(({ name }) => unit(name))), desired } as unknown as ClusterState, "n1", 1, 80);
}
const site = (name: string, more: object = {}) => ({ kind: "site", name, spec: { hostnames: [`${name}.example`], ...more } });

test("documents of versions before: requests are logged, nobody speaks the PROXY protocol", () => {
  const made = table([{ kind: "cluster", name: "eu", spec: {} }, site("a")]);
  expect(made.units["site-a"]).toEqual({ home: "n1", epoch: 3, open: false });
  expect(made).not.toHaveProperty("proxyFrom");
});
test("what a site's and the cluster's documents say reaches the workers", () => {
  const made = table([site("a", { accessLog: true }), site("b", { accessLog: false }), { kind: "cluster", name: "eu", spec: { proxyProtocol: { from: ["192.0.2.10", "10.1.0.0/24"] } } }]);
  expect([made.units["site-a"]?.accessLog, made.units["site-b"]?.accessLog, made.proxyFrom]).toEqual([undefined, false, ["192.0.2.10", "10.1.0.0/24"]]);
});
