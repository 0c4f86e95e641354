import { withoutEpoch } from "../../../daemon/services/create-site-services.js";
import { fpmText } from "../../../daemon/services/render-config.js";
import type { SiteRun } from "../../../daemon/services/site-services.js";

const site = (more: Partial<SiteRun> = {}): SiteRun => ({ unit: "site-a", name: "a", root: "/hc/site-a", user: "hc-acme", uid: 20000, gid: 20000, hostnames: ["a.example"], limits: { memory: "64M", cpu: 1, tasks: 16 }, php: {}, ready: { path: "/", status: 0 }, node: "n1", epoch: 1, ...more });
const text = (more?: Partial<SiteRun>): string => withoutEpoch(fpmText(site(more), "/run/fpm/a.sock", "/var/log/a.log"));

// start() takes a pool that was tested for another epoch without a second test: nothing else may hide behind that
test("only the epoch is left out of the comparison", () => {
  expect(fpmText(site(), "s", "l")).toContain("HC_EPOCH");
  expect(text({ epoch: 2 })).toBe(text());
  for (const other of [{ php: { memory_limit: "32M" } }, { node: "n2" }, { root: "/hc/site-b" }, { uid: 20001 }, { limits: { memory: "128M", cpu: 1, tasks: 16 } }] as Partial<SiteRun>[]) expect(text(other)).not.toBe(text());
});
