import { hostHandler } from "../../../providers/handlers/host.js";
import { hostConfig } from "../../../providers/handlers/host/own-texts.js";
import { parseProbe } from "../../../providers/handlers/host/parse-probe.js";
import { type HostInputs, withHostDefaults } from "../../../providers/schemas/host.js";

const base = { name: "fra1", address: "fra1.example.net", hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", platform: "linux", hcd: { version: "0.1.0", sha256: "b".repeat(64) }, runtime: "24.9.0" };
const check = async (more: object) => (await hostHandler.check({} as HostInputs, { ...base, ...more } as unknown as HostInputs)).failures;
const watchdog = { device: "/dev/watchdog0" };

test("a watchdog is Linux', of a node, and a device of that name", async () => {
  expect(await check({})).toEqual([]);
  expect(await check({ watchdog })).toEqual([]);
  expect(await check({ watchdog, platform: "freebsd" })).toEqual([{ property: "watchdog", reason: expect.stringContaining("not on FreeBSD") }]);
  expect(await check({ watchdog, role: "witness" })).toEqual([{ property: "watchdog", reason: expect.stringContaining("no units") }]);
  for (const device of ["/dev/sda", "/dev/watchdog", "/dev/watchdog0/../sda", "watchdog0"]) expect(await check({ watchdog: { device } })).toEqual([expect.objectContaining({ property: expect.stringContaining("watchdog") })]);
  expect(await check({ watchdog: { ...watchdog, timeout: 60 } })).toHaveLength(1);
});

test("switching it on or off is a change; a host without one keeps its host.json", async () => {
  const plain = withHostDefaults({ ...base, addresses: [], port: 22, user: "root", zone: "", role: "node", ports: {}, paths: {}, timeouts: {} } as unknown as HostInputs);
  expect(await hostHandler.diff("fra1", plain, plain)).toMatchObject({ changes: false });
  expect(await hostHandler.diff("fra1", plain, { ...plain, watchdog })).toMatchObject({ changes: true, replaces: [] });
  expect(await hostHandler.diff("fra1", { ...plain, watchdog }, plain)).toMatchObject({ changes: true, replaces: [] });
  expect(hostConfig(plain)).not.toHaveProperty("watchdog");
  expect(hostConfig({ ...plain, watchdog })).toMatchObject({ watchdog });
});

test("the probe's lines of watchdogs", () => {
  expect(parseProbe("watchdog\t/dev/watchdog0 0 iTCO_wdt\nwatchdog\t/dev/watchdog1 1 Software Watchdog\n").watchdogs).toEqual([{ device: "/dev/watchdog0", nowayout: false, identity: "iTCO_wdt" }, { device: "/dev/watchdog1", nowayout: true, identity: "Software Watchdog" }]);
});
