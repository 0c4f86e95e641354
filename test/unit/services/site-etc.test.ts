import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { etcMounts, SiteEtc } from "../../../daemon/services/site-etc.js";
import type { SiteRun } from "../../../daemon/services/site-services.js";

const site: SiteRun = {
  unit: "site-a", name: "a", root: "/hc/site-a", user: "hc-a", uid: 20001, gid: 20001, hostnames: ["a.example"],
  limits: { memory: "256M", cpu: 1, tasks: 64 }, php: {}, ready: { path: "/", status: 0 }, node: "n1", epoch: 1,
};

test("a site's /etc: its own users, and the host's files as they are now", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-etc-"));
  try {
    const host = `${folder}/etc`;
    const etc = new SiteEtc(`${folder}/run`, host);
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
