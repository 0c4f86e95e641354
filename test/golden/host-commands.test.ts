import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { applyHost } from "../../providers/handlers/host/apply-host.js";
import { emptyManifest } from "../../providers/handlers/host/manifest.js";
import { revertHost } from "../../providers/handlers/host/revert-host.js";
import { type HostInputs, withHostDefaults } from "../../providers/schemas/host.js";
import { RecordingRunner } from "../support/recording-runner.js";

/** Every command that bootstrap and deletion run, on both systems. FreeBSD's were never run on a FreeBSD: this holds them still, and sh(1) reads them. */
const hcd = JSON.parse(readFileSync(join(process.cwd(), "dist/hcd/manifest.json"), "utf8")) as HostInputs["hcd"];
const inputsOf = (platform: HostInputs["platform"]): HostInputs => withHostDefaults({
  name: "fra1", address: "fra1.example.net", addresses: [], port: 22, user: "root", hostKey: "ssh-ed25519 AAAA", platform, zone: "fra", role: "node",
  ports: {} as never, paths: {} as never, hcd, runtime: "24.9.0", timeouts: {} as never,
});
const fresh = {
  linux: "kernel\tLinux\nmachine\tx86_64\nos\tdebian 12\nsystemd\tyes\nzfs\tyes\ntxg\t5\nothernode\tv24.9.0\n",
  freebsd: "kernel\tFreeBSD\nmachine\tamd64\nos\tfreebsd 14.2\nzfs\tyes\ntxg\t5\nracct\t1\nzfsatboot\tYES\n",
};
function written(runner: RecordingRunner, name: string): string {
  const probe = /fact kernel/;
  const shown = runner.asked.filter((argv) => !argv.some((word) => probe.test(word))).map((argv) => (argv[1] === "-c" ? `${argv.slice(4).join(" ")}\n${argv[2]?.replace(/^/gm, "    ")}` : argv.join(" ")));
  const text = `${shown.join("\n")}\n`.replace(/\b[0-9a-f]{64}\b/g, "<digest>").replace(/\.new-[0-9]+/g, ".new-<pid>");
  const file = join(process.cwd(), "test/fixtures/host-files", name);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(file, text);
  expect(text).toBe(readFileSync(file, "utf8"));
  for (const script of runner.asked.filter((argv) => argv[1] === "-c").map((argv) => argv[2] as string)) expect(spawnSync("sh", ["-n", "-c", script], { encoding: "utf8" }).stderr).toBe("");
  return text;
}

describe.each(["linux", "freebsd"] as const)("%s", (platform) => {
  it("bootstrap", async () => {
    const runner = new RecordingRunner([{ when: /fact kernel/, stdout: fresh[platform] }, { when: /etc\/passwd/, stdout: "root\n" }]);
    let began = false;
    await applyHost(runner, inputsOf(platform), () => { began = true; });
    expect(began).toBe(true);
    const text = written(runner, `${platform}-bootstrap.txt`);
    expect(text).not.toMatch(/rm -rf \/|--force-yes/);
  }, 60_000);

  it("deletion", async () => {
    const inputs = inputsOf(platform);
    const manifest = { ...emptyManifest("fra1", inputs.ports, inputs.paths), packages: ["apache"], users: ["_hcproxy"], files: ["/etc/theirs"], txgSecondsBefore: "5", foldersBefore: [inputs.paths.log] };
    const runner = new RecordingRunner([{ when: /fact kernel/, stdout: `${fresh[platform]}manifest\t${JSON.stringify(manifest)}\n` }, { when: /%rn/, stdout: "" }, { when: /pkg query|dpkg-query/, stdout: "apache\nbash\npkg\n" }, { when: /-s purge/, stdout: "apache\n" }]);
    await revertHost(runner, inputs);
    written(runner, `${platform}-deletion.txt`);
  });

  it("deletion keeps packages that something newer needs, and does nothing where nothing of this Host is", async () => {
    const inputs = inputsOf(platform);
    const manifest = { ...emptyManifest("fra1", inputs.ports, inputs.paths), packages: ["apache"] };
    if (platform === "linux") {
      const runner = new RecordingRunner([{ when: /fact kernel/, stdout: `manifest\t${JSON.stringify(manifest)}\n` }, { when: /dpkg-query/, stdout: "apache\nshop\n" }, { when: /-s purge/, stdout: "apache\nshop\n" }]);
      await revertHost(runner, inputs);
      expect(runner.asked.some((argv) => /apt-get .*purge -y/.test(argv.join(" ")))).toBe(false);
    }
    if (platform === "freebsd") {
      const runner = new RecordingRunner([{ when: /fact kernel/, stdout: `manifest\t${JSON.stringify({ ...manifest, packages: ["apache", "pkg"] })}\n` }, { when: /%rn/, stdout: "shop\n" }, { when: /pkg query/, stdout: "apache\npkg\nshop\n" }]);
      await revertHost(runner, inputs);
      expect(runner.asked.some((argv) => /pkg delete/.test(argv.join(" ")))).toBe(false);
      expect(runner.asked.find((argv) => /%rn/.test(argv.join(" ")))?.slice(4)).toEqual(["apache"]);
    }
    for (const probe of ["", `manifest\t${JSON.stringify({ ...manifest, node: "lon1" })}\n`]) {
      const runner = new RecordingRunner([{ when: /fact kernel/, stdout: probe }]);
      await revertHost(runner, inputs);
      expect(runner.asked).toHaveLength(1);
    }
  });
});

it.each(["hcd.rc", "hcd-fencer.rc"])("the rc.d script %s is one that sh(1) reads", (name) => {
  expect(spawnSync("sh", ["-n", join(process.cwd(), "test/fixtures/host-files", name)], { encoding: "utf8" }).stderr).toBe("");
});
