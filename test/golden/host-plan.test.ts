import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultWatchdog } from "../../daemon/lib/node-config.js";
import { type HostInputs, withHostDefaults } from "../../providers/schemas/host.js";
import { serviceText } from "../../providers/handlers/host/own-texts.js";
import { type HostFacts, noFacts } from "../../providers/handlers/host/parse-probe.js";
import { describeStep, planHost } from "../../providers/handlers/host/plan-host.js";

/**
 * One folder a case: `input.json` (inputs, facts; what is missing has its default), `plan.json` (what planHost says). Run with UPDATE_GOLDEN=1 to write
 * them anew, and read the difference.
 */
const folder = join(process.cwd(), "test/fixtures/host-plan");
const own = { hostConfig: "c".repeat(64), service: "d".repeat(64), fencer: "f".repeat(64), machine: "x86_64" };
const base: HostInputs = {
  name: "fra1", address: "fra1.example.net", addresses: [], port: 22, user: "root", hostKey: "ssh-ed25519 AAAA", platform: "linux", zone: "fra", role: "node",
  ports: {} as never, paths: {} as never, hcd: { version: "0.1.0", sha256: "b".repeat(64) }, runtime: "24.9.0", timeouts: {} as never,
};

describe("plan of a host", () => {
  it.each(readdirSync(folder))("%s", (name) => {
    const { inputs, facts } = JSON.parse(readFileSync(join(folder, name, "input.json"), "utf8")) as { inputs: Partial<HostInputs>; facts: Partial<HostFacts> };
    const plan = planHost(withHostDefaults({ ...base, ...inputs }), { ...noFacts, ...facts }, own);
    const seen = { ...plan, text: plan.steps.map(describeStep) };
    const file = join(folder, name, "plan.json");
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, `${JSON.stringify(seen, null, 1)}\n`);
    expect(seen).toEqual(JSON.parse(readFileSync(file, "utf8")));
  });
});

describe("service definition", () => {
  it.each([["linux", "hcd", "hcd.service"], ["freebsd", "hcd", "hcd.rc"], ["linux", "hcd-fencer", "hcd-fencer.service"], ["freebsd", "hcd-fencer", "hcd-fencer.rc"], ["linux", "hcd-fencer", "hcd-fencer-watchdog.service"]] as const)("on %s of %s: %s", (platform, service, name) => {
    const text = serviceText(withHostDefaults({ ...base, platform, ...(name.includes("watchdog") ? { watchdog: defaultWatchdog } : {}) }), service);
    const file = join(process.cwd(), "test/fixtures/host-files", name);
    if (process.env["UPDATE_GOLDEN"] === "1") {
      if (!existsSync(join(file, ".."))) mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, text);
    }
    expect(text).toBe(readFileSync(file, "utf8"));
  });
});
