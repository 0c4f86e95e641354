import fc from "fast-check";
import { packedLimitBytes, packText, unpackText } from "../../../daemon/lib/packed-text.js";
import { configText, readDefinition, readUnitConfig } from "../../../daemon/lib/unit-config.js";
import { diskUnits } from "../../../daemon/recovery/disk-report.js";
import type { Dataset, Snapshot } from "../../../daemon/zfs/zfs.js";
import { config, line, siteDocument } from "./fixture.js";

test("any text comes back as it was, and its packed form fits a property, or there is none", () => {
  fc.assert(fc.property(fc.string({ maxLength: 12_000, unit: "binary" }), (text) => {
    const packed = packText(text);
    if (packed !== undefined) expect([unpackText(packed), Buffer.byteLength(packed) <= packedLimitBytes]).toEqual([text, true]);
  }), { numRuns: 300 });
  const long = JSON.stringify(siteDocument("shop", { hostnames: Array.from({ length: 250 }, (_, at) => `host-number-${at}.shop.example`) }));
  expect([long.length > packedLimitBytes, readDefinition(packText(long))]).toEqual([true, JSON.parse(long)]);
  expect(packText("gz:AAAA")).not.toBe("gz:AAAA");
});
test("what does not end is not unpacked, what is broken is refused", () => {
  const bomb = `gz:${require("node:zlib").gzipSync(Buffer.alloc(8 * 1024 * 1024)).toString("base64")}`;
  expect(() => unpackText(bomb)).toThrow();
  expect(() => unpackText("gz:nothing")).toThrow();
  expect([readDefinition(bomb), readDefinition("{"), readDefinition(undefined), readDefinition(JSON.stringify({ ...siteDocument("shop"), spec: {} }))]).toEqual([undefined, undefined, undefined, undefined]);
});
test("what the agent writes is what a disk is read for", () => {
  const record = { runtime: config().runtime, origin: config().from };
  const customer = { version: 1, name: "acme", uid: 20000, gid: 20000, user: "hc-acme" };
  const document = { version: 1, kind: "customer" as const, name: "acme", origin: "git" as const, spec: config().customer.spec };
  const template = { version: 1, kind: "template" as const, name: "php", origin: "git" as const, spec: config().template!.spec };
  const text = configText(record, customer, document, template);
  expect(readUnitConfig(text)).toEqual(config());
  expect(readUnitConfig(configText(record, customer, document, undefined))).toEqual({ ...config(), template: null });
  expect(readUnitConfig(configText(record, customer, document, { ...template, spec: { ...template.spec, settings: { adminPasswordHash: "secret" } } }))).toEqual({ ...config(), template: null });
  expect([configText(record, undefined, document, template), configText(record, customer, undefined, template)]).toEqual([undefined, undefined]);
  for (const uid of [0, -1, 1.5, "20000"]) expect(readUnitConfig(JSON.stringify({ ...config(), customer: { ...config().customer, uid } }))).toBeUndefined();

  const dataset = (name: string, user: Record<string, string>, origin = "-"): Dataset => ({ name, guid: "1", origin, mounted: false, mountpoint: "", readonly: true, usedBytes: "5", referencedBytes: "5", availableBytes: "5", quotaBytes: "0", user });
  const snapshots = new Map<string, Snapshot[]>([["hpool/hc/site-shop", line("2a 3b").map((one) => ({ ...one, userrefs: 0 }))], ["hpool/hc/tmpl-php", [{ name: "1", guid: "4711", createtxg: "1", atMs: 0, userrefs: 0 }]]]);
  const user = { unit: "site-shop", epoch: "2", home: "n2", state: "live", definition: JSON.stringify(siteDocument("shop")), config: text as string, revision: "12" };
  const seen = diskUnits("hpool/hc", [
    dataset("hpool/hc", {}), dataset("hpool/hc/tmpl-php", {}), dataset("hpool/hc/site-shop", user, "hpool/hc/tmpl-php@1"), dataset("hpool/hc/site-other", user), dataset("hpool/hc/stash/site-shop", user), dataset("hpool/hc/site-blog", {}),
  ], snapshots);
  expect(seen).toEqual([{ unit: "site-shop", dataset: "hpool/hc/site-shop", home: "n2", state: "live", mounted: false, usedBytes: "5", epoch: 3, snapshots: 2, last: line("2a 3b")[1], revision: "12", document: siteDocument("shop"), config: config(), from: { template: "php", version: "1", guid: "4711" } }]);
  // a definition of another unit is none
  expect(diskUnits("hpool/hc", [dataset("hpool/hc/site-shop", { ...user, definition: JSON.stringify(siteDocument("blog")) })], snapshots)[0]).toMatchObject({ document: null, from: config().from });
});
