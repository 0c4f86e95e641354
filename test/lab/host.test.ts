import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { freebsdPaths } from "../../daemon/lib/node-config.js";
import { carriedNode } from "../../providers/core/package-info.js";
import { hostHandler, planForPeople } from "../../providers/handlers/host.js";
import type { HostInputs } from "../../providers/schemas/host.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { connectionOf } from "../../providers/schemas/host.js";
import { type TestNode, withLab } from "../support/lab.js";
import { askAll } from "../support/web-asker.js";

const minute = 60_000;
const lab = withLab(2);
const hcd = JSON.parse(readFileSync(join(process.cwd(), "dist/hcd/manifest.json"), "utf8")) as HostInputs["hcd"];

async function inputsFor(node: TestNode, more: Partial<HostInputs> = {}): Promise<HostInputs> {
  const { name, address, addresses, port, user, hostKey, privateKeyPath } = node;
  const { inputs, failures } = await hostHandler.check({}, { name, address, addresses, port, user, hostKey, privateKeyPath, platform: "linux", zone: "a", hcd, runtime: carriedNode(), ...more } as HostInputs);
  expect(failures).toEqual([]);
  return inputs;
}
/** Everything of the machine that a person would see as changed. */
async function pictureOf(node: TestNode): Promise<Record<string, string[]>> {
  const list = async (script: string): Promise<string[]> => (await node.sh(script)).split("\n").filter((line) => line !== "").sort();
  return {
    packages: await list(`dpkg-query -W -f '\${db:Status-Abbrev}\${Package} \${Version}\\n'`),
    users: await list("cat /etc/passwd /etc/group"),
    ports: await list("ss -Hltn | awk '{print $4}'"),
    // what the machine writes by itself is left out: journals, caches, package lists, and backups of passwd
    files: await list("find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run/systemd -o -path /run/user -o -path /var/log -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /tmp \\) -prune -o ! -type d -print -o -type d -printf '%p/\\n' | grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/\\.pwd\\.lock$'"),
    run: await list("find /run -mindepth 1 -maxdepth 1"),
    services: await list("systemctl list-unit-files --no-legend --type=service | awk '{print $1, $2}'"),
  };
}
const statusOf = (node: TestNode, what: string): Promise<string> => node.exec(["systemctl", "show", "-P", what, "hcd.service"]).then((result) => result.stdout.trim());

/**
 * A web server of the machine's own on port 80, and a repository with packages that are not installed yet. Theirs starts a service and makes a user, as
 * Debian's do; that shows whether an installation starts anything.
 */
async function prepare(node: TestNode): Promise<void> {
  await node.sh(`systemd-run --quiet --unit=shop --collect /usr/local/bin/node -e 'require("http").createServer((q,r)=>r.end("shop")).listen(80,"::")'
    export DEBIAN_FRONTEND=noninteractive; apt-get purge -y -qq etcd-server php8.2-curl >/dev/null 2>&1; userdel etcd 2>/dev/null || true; rm -rf /var/lib/etcd /etc/systemd/system/etcd.service
    mkdir -p /srv/repo && cd /srv/repo; : > Packages
    for name in etcd-server php8.2-curl; do
      d=$(mktemp -d); mkdir -p "$d/DEBIAN" "$d/lib/systemd/system"; chmod 755 "$d"
      printf 'Package: %s\\nVersion: 99\\nArchitecture: all\\nMaintainer: test <test@example.net>\\nDescription: test\\n' "$name" > "$d/DEBIAN/control"
      if [ "$name" = etcd-server ]; then
        printf '[Service]\\nExecStart=/bin/sh -c "touch /srv/started; exec sleep 1000"\\n[Install]\\nWantedBy=multi-user.target\\n' > "$d/lib/systemd/system/etcd.service"
        printf '#!/bin/sh\\nuseradd --system --no-create-home --user-group etcd 2>/dev/null\\nsystemctl daemon-reload; deb-systemd-helper enable etcd.service >/dev/null; deb-systemd-invoke start etcd.service\\n' > "$d/DEBIAN/postinst"
        printf '#!/bin/sh\\nif [ "$1" = purge ]; then deb-systemd-helper purge etcd.service >/dev/null; fi\\n' > "$d/DEBIAN/postrm"
        chmod 755 "$d/DEBIAN/postinst" "$d/DEBIAN/postrm"
      fi
      dpkg-deb --root-owner-group -b "$d" "$name.deb" >/dev/null; rm -rf "$d"
      { dpkg-deb -f "$name.deb"; echo "Filename: ./$name.deb"; echo "Size: $(stat -c %s "$name.deb")"; echo "SHA256: $(sha256sum < "$name.deb" | cut -d' ' -f1)"; echo; } >> Packages
    done
    rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list; systemctl daemon-reload`, { timeoutMs: minute });
  await node.sh("for i in $(seq 100); do curl -fs http://127.0.0.1/ && exit 0; sleep 0.1; done; exit 1");
}

describe("a machine with a web server of its own", () => {
  it("is told apart, bootstrapped beside it, and given back as it was; the web server never misses a request", async () => {
    const node = lab.node("n1");
    await prepare(node);
    const before = await pictureOf(node);
    const asker = askAll(`http://${node.address}/`);
    try {
      await besideIt(node, before);
    } finally {
      const { asked, failures } = await asker.stop();
      expect(failures).toEqual([]);
      expect(asked).toBeGreaterThan(20);
    }
  }, 4 * minute);

  async function besideIt(node: TestNode, before: Awaited<ReturnType<typeof pictureOf>>): Promise<void> {
    // conflicts name port, owner and setting, before anything is changed
    await expect(hostHandler.create(await inputsFor(node))).rejects.toMatchObject({ code: "PORT_IN_USE", message: expect.stringMatching(/ports\.http: 80 is in use by node; give another port\. Nothing was changed\./) });
    await node.sh("mkdir -p /opt/theirs && touch /opt/theirs/file");
    await expect(hostHandler.create(await inputsFor(node, { ports: { http: 8081 }, paths: { lib: "/opt/theirs" } } as never))).rejects.toMatchObject({ code: "PATH_IN_USE", message: expect.stringContaining("paths.lib: /opt/theirs exists") });
    await node.sh("rm -r /opt/theirs");
    await expect(hostHandler.create(await inputsFor(node, { platform: "freebsd", paths: freebsdPaths }))).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("the machine runs Linux") });
    expect(await pictureOf(node)).toEqual(before);

    const inputs = await inputsFor(node, { ports: { http: 8081 } as never });
    const plan = await planForPeople(inputs);
    expect(plan.ok).toBe(true);
    expect(plan.lines.join("\n")).toMatch(/install packages etcd-server, php8\.2-curl \(their own services etcd\.service are kept from starting\).*_hcproxy.*start the service hcd.*http 8081/s);
    expect(await pictureOf(node)).toEqual(before);

    const { id, outs } = await hostHandler.create(inputs);
    expect(id).toBe("n1");
    const version = await apiCall<{ sha256: string; node: string; clustered: boolean }>([connectionOf(inputs)], "GET", "/v1/version", undefined, { timeoutMs: 10_000 });
    expect(version).toMatchObject({ sha256: hcd.sha256, node: "n1", clustered: false });
    expect(JSON.parse(await node.ok(["cat", "/etc/hybridcluster/host.json"]))).toMatchObject({ node: "n1", zone: "a", ports: { http: 8081, peer: 4430 }, addresses: node.addresses });
    const manifest = JSON.parse(await node.ok(["cat", "/var/lib/hybridcluster/manifest.json"])) as Record<string, unknown>;
    expect(manifest).toMatchObject({ packages: ["etcd-server", "php8.2-curl"], before: null, users: ["etcd", "_hcproxy", "_hcetcd", "_hcweb"], files: ["/etc/systemd/system/hcd-fencer.service", "/etc/systemd/system/hcd.service"], silenced: ["etcd.service"] });
    // nothing that the installation brought was started
    expect((await node.exec(["test", "-e", "/srv/started"])).code).toBe(1);
    expect((await node.exec(["systemctl", "is-enabled", "etcd.service"])).stdout).toBe("disabled\n");
    expect((await node.exec(["test", "-e", "/usr/sbin/policy-rc.d"])).code).toBe(1);

    // again: nothing to do, and nothing is done
    const pid = await statusOf(node, "MainPID");
    expect((await planForPeople(inputs)).lines.filter((line) => /install|create|upload|write|start/.test(line))).toEqual([]);
    expect(await hostHandler.diff(id, outs, inputs)).toMatchObject({ changes: false });
    await hostHandler.create(inputs);
    expect(await statusOf(node, "MainPID")).toBe(pid);
    expect(await hostHandler.read(id, outs)).toEqual({ id, props: outs });

    // drift is seen and repaired
    await node.sh("systemctl stop hcd.service; rm /etc/hybridcluster/host.json");
    const drifted = await hostHandler.read(id, outs);
    expect(await hostHandler.diff(id, drifted.props, inputs)).toMatchObject({ changes: true, replaces: [] });
    await hostHandler.update(id, drifted.props, inputs);
    expect(await hostHandler.read(id, outs)).toEqual({ id, props: outs });

    await hostHandler.delete(id, outs);
    expect(await pictureOf(node)).toEqual(before);
    expect((await hostHandler.read(id, outs)).id).toBe("");
    await hostHandler.delete(id, outs); // again: success
  }
});

describe("an upgrade", () => {
  /** Puts an artefact on the node, as an earlier or later up would have; returns its digest. */
  const bring = async (node: TestNode, text: string): Promise<string> => (await node.sh(`cd /usr/local/lib/hybridcluster; cat > /tmp/new.cjs; d=$(sha256sum < /tmp/new.cjs | cut -d" " -f1); mkdir -p $d; mv /tmp/new.cjs $d/hcd.cjs; chmod 755 $d $d/hcd.cjs; echo $d`, { input: text })).trim();

  it("switches to the new daemon, and goes back from one that does not run", async () => {
    const node = lab.node("n2");
    if ((await node.exec(["test", "-d", "/srv/repo"])).code !== 0) await prepare(node);
    const inputs = await inputsFor(node, { ports: { http: 8081 } as never, timeouts: { create: 10 } });
    const { id, outs } = await hostHandler.create(inputs);
    const version = (): Promise<{ sha256: string }> => apiCall([connectionOf(inputs)], "GET", "/v1/version", undefined, { timeoutMs: 10_000 });
    const current = async (): Promise<string> => (await node.ok(["readlink", "/usr/local/lib/hybridcluster/current"])).trim();

    const other = await bring(node, `${readFileSync(join(process.cwd(), "dist/hcd/hcd.cjs"), "utf8")}\n// another version\n`);
    const newer = { ...inputs, hcd: { version: "0.2.0", sha256: other } };
    expect(await hostHandler.diff(id, outs, newer)).toMatchObject({ changes: true, replaces: [] });
    const upgraded = (await hostHandler.update(id, outs, newer)).outs;
    expect(await version()).toMatchObject({ sha256: other });
    expect(await hostHandler.read(id, upgraded)).toEqual({ id, props: upgraded });
    // the one of before is kept for a way back, and is seen as drift by a program that wants it
    expect((await node.sh("ls /usr/local/lib/hybridcluster")).split("\n")).toEqual(expect.arrayContaining([hcd.sha256, other]));
    expect((await hostHandler.read(id, outs)).props.hcd.sha256).toBe(other);

    const broken = await bring(node, "process.exit(1)");
    await expect(hostHandler.update(id, upgraded, { ...newer, hcd: { version: "0.3.0", sha256: broken } })).rejects.toMatchObject({ partial: true, message: expect.stringContaining("hcd on n2") });
    expect(await current()).toBe(other);
    await node.sh("for i in $(seq 100); do curl -fs --unix-socket /run/hybridcluster/hcd.sock http://hcd/v1/version && exit 0; sleep 0.1; done; exit 1");
    expect(await version()).toMatchObject({ sha256: other });
    // hosts behind it are not upgraded in the same run
    await expect(hostHandler.update(id, upgraded, { ...inputs, hcd })).rejects.toMatchObject({ partial: true, message: expect.stringContaining("because n2 did not become ready") });
    await hostHandler.delete(id, upgraded);
  }, 2 * minute);
});

describe("kill -9 of the process that bootstraps", () => {
  it.each([["install packages", 0], ["upload the daemon", 0], ["upload the daemon", 60], ["first", 250]])("at %s + %d ms leaves what the next run completes and a deletion takes back", async (line, pauseMs) => {
    const node = lab.node("n2");
    if ((await node.exec(["test", "-d", "/srv/repo"])).code !== 0) await prepare(node);
    const before = await pictureOf(node);
    const inputs = await inputsFor(node, { ports: { http: 8081 } as never });
    const script = `process.stdout.write("first\\n");require(${JSON.stringify(require.resolve("../../providers/handlers/host.js"))}).hostHandler.create(${JSON.stringify(inputs)}).then(()=>process.stdout.write("ended\\n"),(e)=>{console.error(e);process.exit(1)})`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    let text = "";
    await new Promise<void>((resolve) => {
      child.stdout.on("data", (data: Buffer) => {
        text += data.toString();
        if (text.includes(line)) resolve();
      });
      child.once("exit", () => resolve());
    });
    expect(text).toContain(line);
    await new Promise((resolve) => setTimeout(resolve, pauseMs)); // the moment of the kill, not a wait for something
    child.kill("SIGKILL");
    await gone;
    expect(text).not.toContain("ended");

    const { id, outs } = await hostHandler.create(inputs);
    expect(await hostHandler.read(id, outs)).toEqual({ id, props: outs });
    expect((await node.exec(["test", "-e", "/usr/sbin/policy-rc.d"])).code).toBe(1);
    expect(await node.sh("find /usr/local/lib/hybridcluster /etc/hybridcluster /var/lib/hybridcluster -name '*.new-*'")).toBe("");
    await hostHandler.delete(id, outs);
    expect(await pictureOf(node)).toEqual(before);
  }, 2 * minute);
});
