import { lstatSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { etcMounts, hostsText, SiteEtc } from "../../../daemon/services/site-etc.js";
import type { SiteRun } from "../../../daemon/services/site-services.js";

const site: SiteRun = {
  unit: "site-a", name: "a", root: "/hc/site-a", user: "hc-a", uid: 20001, gid: 20001, hostnames: ["a.example"], secured: true,
  limits: { memory: "256M", cpu: 1, tasks: 64 }, php: {}, ready: { path: "/", status: 0 }, node: "n1", epoch: 1,
};

test("a site's /etc: its own users, and the host's files as they are now", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-etc-"));
  try {
    const host = `${folder}/etc`;
    const etc = new SiteEtc(`${folder}/run`, true, host);
    const own = `${folder}/run/site-a`;
    await etc.refresh(); // a host without any of the files
    writeFileSync(join(folder, "first"), "nameserver 192.0.2.1\n");
    await import("node:fs/promises").then(({ mkdir }) => mkdir(host));
    renameSync(join(folder, "first"), `${host}/resolv.conf`);
    await etc.prepare(site);
    await etc.prepare(site);
    expect(readFileSync(`${own}/passwd`, "utf8")).toContain("\nhc-a:x:20001:20001:a:/:/usr/sbin/nologin\n");
    expect(readFileSync(`${own}/group`, "utf8")).toContain("\nhc-a:x:20001:\n");
    // as it is mounted: the copies lie in the site's own folder
    const mounts = etcMounts(`${folder}/run`, "site-a");
    expect(mounts.slice(0, 2)).toEqual([{ source: own, target: "/etc" }, { source: `${folder}/run/host`, target: "/etc/.host" }]);
    rmSync(`${own}/.host`, { recursive: true });
    renameSync(`${folder}/run/host`, `${own}/.host`);
    expect(readFileSync(`${own}/resolv.conf`, "utf8")).toBe("nameserver 192.0.2.1\n");
    renameSync(`${own}/.host`, `${folder}/run/host`);

    writeFileSync(`${host}/resolv.conf.new`, "nameserver 192.0.2.22\n");
    renameSync(`${host}/resolv.conf.new`, `${host}/resolv.conf`);
    await etc.refresh();
    expect(readFileSync(`${folder}/run/host/resolv.conf`, "utf8")).toBe("nameserver 192.0.2.22\n");
    rmSync(`${host}/resolv.conf`);
    await etc.refresh();
    expect(() => readFileSync(`${folder}/run/host/resolv.conf`)).toThrow("ENOENT");
    await etc.forget("site-a");
    expect(() => readFileSync(`${own}/passwd`)).toThrow("ENOENT");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a site's own host names lead to its node; not wildcards, addresses, and what the host's own file names", () => {
  const host = "127.0.0.1 localhost\n192.0.2.9 Mapped.example other # www.a.example";
  expect(hostsText(host, ["a.example", "www.a.example", "*.a.example", "mapped.example", "other", "192.0.2.1", "[2001:db8::1]", "2001:db8::2"])).toBe(`${host}\n127.0.0.1 a.example\n127.0.0.1 www.a.example\n`);
  expect([hostsText("", ["a.example"]), hostsText(host, []), hostsText("127.0.0.1 localhost\n", [])]).toEqual(["127.0.0.1 a.example\n", `${host}\n`, "127.0.0.1 localhost\n"]);
});

test("the hosts file of a site that runs follows its names and the host's file, by a rename; one that has no folder here gets none", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-etc-"));
  try {
    const [host, own] = [`${folder}/etc`, `${folder}/run/site-a`];
    const hosts = (): string => readFileSync(`${own}/hosts`, "utf8");
    mkdirSync(host);
    writeFileSync(`${host}/hosts`, "127.0.0.1 localhost\n");
    // as the version before has made it, and its site runs on
    mkdirSync(own, { recursive: true });
    symlinkSync(".host/hosts", `${own}/hosts`);
    const etc = new SiteEtc(`${folder}/run`, true, host);
    await etc.refresh();
    await etc.follow([site, { ...site, unit: "site-b" }]);
    expect([hosts(), lstatSync(`${own}/hosts`).isFile()]).toEqual(["127.0.0.1 localhost\n127.0.0.1 a.example\n", true]);
    expect(() => lstatSync(`${folder}/run/site-b`)).toThrow("ENOENT");
    const before = lstatSync(`${own}/hosts`).ino;
    await etc.follow([site]);
    expect(lstatSync(`${own}/hosts`).ino).toBe(before); // nothing is written that is there
    await etc.follow([{ ...site, hostnames: ["new.example"] }]);
    expect(hosts()).toBe("127.0.0.1 localhost\n127.0.0.1 new.example\n");
    await etc.prepare({ ...site, unit: "site-0" });
    rmSync(`${folder}/run/site-0`, { recursive: true }); // by whomever: it stops no other
    await etc.follow([site, { ...site, hostnames: ["new.example"] }]);
    writeFileSync(`${host}/hosts.new`, "127.0.0.1 localhost\n192.0.2.9 new.example\n");
    renameSync(`${host}/hosts.new`, `${host}/hosts`);
    await etc.refresh();
    expect(hosts()).toBe("127.0.0.1 localhost\n192.0.2.9 new.example\n");
    await etc.prepare(site);
    expect(hosts()).toBe("127.0.0.1 localhost\n192.0.2.9 new.example\n127.0.0.1 a.example\n");
    // other ports, or somebody else's before them
    await etc.prepare({ ...site, secured: false });
    expect(hosts()).toBe("127.0.0.1 localhost\n192.0.2.9 new.example\n");
    await etc.prepare(site);
    const plain = new SiteEtc(`${folder}/run`, false, host);
    await plain.prepare(site);
    expect(hosts()).toBe("127.0.0.1 localhost\n192.0.2.9 new.example\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
