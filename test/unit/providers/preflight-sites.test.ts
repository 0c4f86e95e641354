import { unknownValue } from "../../../daemon/lib/schema.js";
import type { StatusUnit } from "../../../daemon/lib/status.js";
import { type PlannedSite, preflightSites } from "../../../providers/handlers/preflight-sites.js";

const unit = (name: string, more: Partial<StatusUnit> = {}): StatusUnit => ({ id: `site-${name}`, kind: "site", name, origin: "git", home: "n1", epoch: 1, state: "serving", hostnames: [`${name}.example`], usedBytes: String(25 << 20), quota: "1G", replicas: [], error: "", ...more });
const planned = (op: PlannedSite["op"], name: string, more: object = {}): PlannedSite => ({ resource: `Site ${name}`, op, inputs: { name, quota: "1G", hostnames: [`${name}.example`], adopt: false, ...more } as unknown as PlannedSite["inputs"] });
const said = (sites: PlannedSite[], units: StatusUnit[]): string[] => preflightSites(sites, { units }).map((item) => `${item.resource}: ${item.property}: ${item.reason}`);

test.each<[string, PlannedSite[], StatusUnit[], string[]]>([
  ["a quota below what is used", [planned("update", "wiki", { quota: "10M" })], [unit("wiki")], ["Site wiki: quota: 10M is below the 25M that site-wiki uses; give at least that, or make room first"]],
  ["a quota just as large", [planned("update", "wiki", { quota: "25M" })], [unit("wiki")], []],
  ["a quota that is not known yet", [planned("update", "wiki", { quota: unknownValue })], [unit("wiki")], []],
  ["a new site in place of one with more in it", [planned("replace", "wiki", { quota: "10M" })], [unit("wiki")], []],
  ["more than 2^53 bytes", [planned("update", "wiki", { quota: "8192T" })], [unit("wiki", { usedBytes: String(2n ** 53n + 1n) })], ["Site wiki: quota: 8192T is below the 8.0P that site-wiki uses; give at least that, or make room first"]],
  ["a site of the API", [planned("create", "wiki")], [unit("wiki", { origin: "api" })], ["Site wiki: name: site-wiki exists and was made through the API; say adopt: true to take it over"]],
  ["… with adopt", [planned("create", "wiki", { adopt: true })], [unit("wiki", { origin: "api" })], []],
  ["a half-made site of ours", [planned("create", "wiki")], [unit("wiki")], []],
  ["another's host name", [planned("update", "shop", { hostnames: ["wiki.example"] })], [unit("shop"), unit("wiki")], ["Site shop: hostnames: wiki.example belongs to site-wiki already"]],
  ["a host name that its site gives up in the same plan", [planned("update", "shop", { hostnames: ["wiki.example"] }), planned("update", "wiki", { hostnames: ["w.example"] })], [unit("shop"), unit("wiki")], []],
  ["two faults of one site", [planned("update", "wiki", { quota: "1M", hostnames: ["shop.example"] })], [unit("wiki"), unit("shop")], [expect.stringContaining("quota"), expect.stringContaining("hostnames")]],
  ["no cluster yet", [planned("create", "wiki")], [], []],
])("%s", (_what, sites, units, expected) => expect(said(sites, units)).toEqual(expected));
