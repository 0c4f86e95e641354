import { mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAbsentLab, isLabKey } from "../../providers/ssh/lab-address.js";

const bridge = (address: string) => ({ hcl5: [{ address, netmask: "", family: "IPv4" as const, mac: "", internal: false, cidr: null }] });
test("a lab's address is only used while its network is up", () => {
  expect(isAbsentLab("10.77.5.11", {})).toBe(true);
  expect(isAbsentLab("10.77.5.11", bridge("10.77.5.1"))).toBe(false);
  expect(isAbsentLab("10.77.5.11", bridge("10.77.51.1"))).toBe(true);
  expect(isAbsentLab("fd77:5::11", bridge("fd77:5::1"))).toBe(false);
  expect(isAbsentLab("192.0.2.1", {})).toBe(false);
  expect(isAbsentLab("fra1.example.net", {})).toBe(false);
});
test("hosts of one's own in that range are no lab", () => {
  const workspace = mkdtempSync(join(tmpdir(), "hc-lab-key-"));
  const key = join(workspace, "ssh", "id_ed25519");
  expect(isLabKey(key)).toBe(false);
  mkdirSync(join(workspace, "labs"));
  expect([isLabKey(key), isLabKey(undefined), isLabKey("/root/.ssh/id_ed25519")]).toEqual([true, false, false]);
});
