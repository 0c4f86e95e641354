import { type DesiredDocument, siteDefaults, type SiteSpec } from "../../../daemon/lib/documents.js";
import type { SnapshotInfo } from "../../../daemon/lib/records.js";
import type { UnitConfig } from "../../../daemon/lib/unit-config.js";
import type { Copy } from "../../../daemon/recovery/decide.js";
import type { DiskUnit } from "../../../daemon/recovery/disk-report.js";

export const config = (uid = 20000): UnitConfig => ({
  version: 1, customer: { spec: { displayName: "acme", contact: "" }, origin: "git", uid, gid: uid, user: "hc-acme" }, template: { spec: { recipe: "php", version: "1", settings: {} }, origin: "git" },
  runtime: { platform: "linux", php: "8.2" }, from: { template: "php", version: "1", guid: "77" },
});
export const siteDocument = (name: string, spec: Partial<SiteSpec> = {}): DesiredDocument<"site"> => ({
  version: 1, kind: "site", name, origin: "git", spec: { customer: "acme", template: "php", hostnames: [`${name}.example`], ...(structuredClone(siteDefaults) as unknown as Omit<SiteSpec, "customer" | "template" | "hostnames">), ...spec },
});
/** "3a 3b": epochs and guids, oldest first. */
export const line = (text: string): SnapshotInfo[] => text.split(" ").filter((word) => word !== "").map((word, at) => {
  const [, epoch = "", letter = ""] = /^([0-9]*)([a-z])$/.exec(word) as RegExpExecArray;
  return { name: epoch === "" ? `by-hand-${letter}` : `${epoch}-20260101T0000${String(at).padStart(2, "0")}.000Z-n9`, guid: String(letter.charCodeAt(0)), createtxg: String(at), atMs: at * 1000 };
});
export function disk(name: string, snapshots: string, more: Partial<DiskUnit> = {}): DiskUnit {
  const list = line(snapshots);
  return {
    unit: `site-${name}`, dataset: `hpool/hc/site-${name}`, home: "n1", state: "live", mounted: false, usedBytes: "1000", snapshots: list.length, last: list.at(-1) ?? null, revision: "50",
    epoch: Math.max(0, ...list.map((one) => Number(/^[0-9]+(?=-)/.exec(one.name)?.[0] ?? 0))), document: siteDocument(name), config: config(), from: { template: "php", version: "1", guid: "77" }, ...more,
  };
}
export const copy = (node: string, snapshots: string, more: Partial<DiskUnit> = {}): Copy => ({ node, unit: disk("shop", snapshots, more), list: line(snapshots) });
