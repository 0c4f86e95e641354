import type { UnitRecord } from "../../daemon/lib/records.js";
import { addressOf } from "../../daemon/lib/networks.js";
import { RouteStore } from "../../daemon/proxy/route-store.js";
import { buildRoutes, type RouteTable } from "../../daemon/proxy/routes.js";
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

describe("the gate of what is at home here", () => {
  const picture = (more: object = {}, state = "serving"): ClusterState => {
    const [id, { value, revision }] = unit("a");
    return { ...emptyPicture.state, units: new Map([[id, { value: { ...value, ...more }, revision }]]), observedUnits: new Map([["n1", new Map([["site-a", { state, epoch: 3 }]])]]) } as unknown as ClusterState;
  };
  const open = (state: ClusterState, serving: readonly (readonly [string, number])[], before?: { open: boolean; epoch: number }): boolean | undefined => {
    const table = before === undefined ? undefined : { ...buildRoutes(state, "n1", 1, 80), units: { "site-a": { home: "n1", ...before } } };
    return buildRoutes(state, "n1", 1, 80, 0, { serving: new Map(serving), before: table }).units["site-a"]?.open;
  };
  test("what this process has seen serve in the record's epoch is open, whatever is published", () => {
    expect([open(picture(), [["site-a", 3]]), open(picture({}, "starting"), [["site-a", 3]])]).toEqual([true, true]);
    expect([open(picture(), [["site-a", 0]]), open(picture(), [["site-a", 2]]), open(picture(), [])]).toEqual([false, false, false]);
  });
  test("after a restart the table of the process before stands for what was not looked at yet, in its epoch", () => {
    expect(open(picture({}, "starting"), [], { open: true, epoch: 3 })).toBe(true);
    expect(open(picture(), [], { open: false, epoch: 3 })).toBe(false);
    expect(open(picture(), [], { open: true, epoch: 2 })).toBe(false);
    expect(open(picture(), [["site-a", 0]], { open: true, epoch: 3 })).toBe(false);
  });
  test.each([["a move that stops it", { move: { id: "m", target: "n2", phase: "stopping", reason: "" } }], ["a restore in place", { restore: { id: "r", snapshot: "s", epoch: 3 } }], ["another generation", { homeGeneration: 2 }], ["another home", { home: "n2" }]])("%s closes it, whatever the process before had told", (_why, more) => {
    expect([open(picture(more), [["site-a", 3]]), open(picture(more), [], { open: true, epoch: 3 })]).toEqual([false, false]);
  });
});

test("a node is known by each of its addresses, as the system writes them of a connection; with its record it is forgotten", () => {
  const routes = new RouteStore();
  const tell = (nodes: RouteTable["nodes"]): void => routes.setTable({ ...table([]), nodes });
  const isNode = (remoteAddress: string): boolean => routes.isNode(addressOf({ remoteAddress }));
  expect(isNode("192.0.2.1")).toBe(false);
  tell({ n1: { addresses: ["192.0.2.1", "2001:DB8:0::1"], port: 1 }, n2: { addresses: ["fe80::2"], port: 1 } });
  expect(["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "fe80::2%eth0"].map(isNode)).toEqual([true, true, true, true]);
  expect(["192.0.2.2", "2001:db8::2", "::1"].map(isNode)).toEqual([false, false, false]);
  tell({ n2: { addresses: ["192.0.2.2"], port: 1 } });
  expect(["192.0.2.1", "192.0.2.2"].map(isNode)).toEqual([false, true]);
});
