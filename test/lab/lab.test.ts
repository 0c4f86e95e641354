import { readFileSync } from "node:fs";
import { readEntry } from "../../providers/lab/registry.js";
import { SshRunner } from "../../providers/ssh/ssh-runner.js";
import { makeTestLab, runWithLab, withLab } from "../support/lab.js";
import { labTraces } from "../support/lab-traces.js";

const minute = 60_000;
const pool = ["zpool create -O mountpoint=/data data /disks/d0.img"];
/** fsync'd: what a power cut must not take. */
const durable = (path: string, text: string): string => `printf '%s' '${text}' | dd of=${path} conv=fsync status=none`;

describe("two nodes", () => {
  const lab = withLab(2);

  it("answer over SSH with the pinned host key, on both of their addresses", async () => {
    for (const node of lab.nodes)
      for (const address of node.addresses) {
        const result = await new SshRunner({ ...node, address }).run(["hostname"], { timeoutMs: 20_000 });
        expect(result.stdout.trim()).toBe(node.name);
      }
    const [one, two] = [lab.node("n1"), lab.node("n2")];
    const stranger = new SshRunner({ ...one, hostKey: two.hostKey });
    await expect(stranger.run(["true"], { timeoutMs: 20_000 })).rejects.toMatchObject({ code: "HOST_KEY_MISMATCH" });
  }, minute);

  it("reach each other by name over IPv4 and IPv6, at once", async () => {
    for (const family of ["-4", "-6"]) {
      expect(await lab.node("n1").ok(["ping", family, "-c", "1", "-W", "2", "n2"])).toContain("1 received");
      expect(await lab.node("n2").ok(["ping", family, "-c", "1", "-W", "2", "n1"])).toContain("1 received");
    }
  });

  it("run systemd without a failed unit, and Node for the daemon", async () => {
    expect((await lab.node("n1").exec(["systemctl", "is-system-running", "--wait"])).stdout.trim()).toBe("running");
    expect(await lab.node("n1").ok(["node", "--version"])).toMatch(/^v24\./);
  });

  it("hold what templates are built from, and no private key of the operator", async () => {
    const node = lab.node("n1");
    expect(await node.sh("ls /var/cache/hybridcluster/packages")).toMatch(/dokuwiki_.*\.deb/);
    const found = await node.exec(["grep", "-rl", "PRIVATE KEY", "/root", "/etc/ssh"]);
    expect(found.stdout.trim()).toBe("/etc/ssh/ssh_host_ed25519_key");
    expect(await node.sh("cat /etc/ssh/ssh_host_ed25519_key")).not.toBe(readFileSync(node.privateKeyPath, "utf8"));
  });

  it("cannot leave the machine, nor change it", async () => {
    const node = lab.node("n1");
    const before = readFileSync("/proc/sys/vm/swappiness", "utf8");
    expect((await node.exec(["ip", "route", "get", "192.0.2.1"])).code).not.toBe(0);
    expect((await node.exec(["ip", "-6", "route", "get", "2001:db8::1"])).code).not.toBe(0);
    expect((await node.exec(["sh", "-c", "echo 1 >/proc/sys/vm/swappiness"])).code).not.toBe(0);
    expect((await node.exec(["sh", "-c", "mkdir /sys/fs/probe || echo x >/sys/kernel/uevent_helper"])).code).not.toBe(0);
    expect(readFileSync("/proc/sys/vm/swappiness", "utf8")).toBe(before);
    await node.sh("echo 3 >/proc/sys/vm/drop_caches; [ ! -e /proc/sysrq-trigger ] || echo b >/proc/sysrq-trigger"); // both go nowhere
    await node.sh("echo 1 >/proc/sys/net/ipv4/ip_forward"); // its own network is its own
    expect(lab.node("n1").alive()).toBe(true);
  });

  it("lose the network in a cut and have it back when healed", async () => {
    const [one, two] = [lab.node("n1"), lab.node("n2")];
    await two.cut();
    expect((await one.exec(["ping", "-4", "-c", "1", "-W", "1", "n2"])).code).not.toBe(0);
    await two.heal();
    expect(await one.ok(["ping", "-4", "-c", "3", "-i", "0.2", "-W", "2", "n2"])).toMatch(/[123] received/);
  });

  it("can be cut in one direction", async () => {
    await lab.lab.cutLink(["n2"], "n1"); // n1 hears nothing of n2; n2 still hears n1
    const counter = async (): Promise<number> => Number(/IcmpInEchos\s+([0-9]+)/.exec(await lab.node("n2").ok(["nstat", "-asz", "IcmpInEchos"]))?.[1]);
    const heard = await counter();
    expect((await lab.node("n1").exec(["ping", "-4", "-c", "1", "-W", "1", "n2"])).code).not.toBe(0);
    expect(await counter()).toBe(heard + 1);
    await lab.node("n1").heal();
    expect(await lab.node("n1").ok(["ping", "-4", "-c", "1", "-W", "2", "n2"])).toContain("1 received");
  });

  it("come back with pool and data after a power cut, with all their data after an orderly stop", async () => {
    const node = lab.node("n1");
    await node.sh(`${pool[0]}; ${durable("/data/kept", "before the cut")}`);
    await node.kill();
    expect(node.alive()).toBe(false);
    await expect(node.exec(["true"])).rejects.toMatchObject({ code: "UNREACHABLE" });
    await node.start();
    expect(await node.sh("cat /data/kept")).toBe("before the cut");
    await node.sh("echo not synced >/data/late");
    await node.stop();
    await node.start();
    expect(await node.sh("cat /data/kept /data/late")).toBe("before the cutnot synced\n");
  }, minute);

  it("bring ZFS back when its daemon dies", async () => {
    const node = lab.node("n2");
    await node.sh(`${pool[0]}; ${durable("/data/kept", "one")}; systemctl kill --signal=KILL zfs-fuse`);
    await node.sh("for i in $(seq 400); do [ \"$(cat /data/kept 2>/dev/null)\" = one ] && exit 0; sleep 0.05; done; exit 1", { timeoutMs: 40_000 });
  }, minute);

  it("name a program that is missing", async () => {
    await expect(lab.node("n1").exec(["no-such-program"])).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
  });

  it("start once, however many start them at the same time", async () => {
    const node = lab.node("n2");
    await node.kill();
    await Promise.all([node.start(), node.start(), lab.lab.start("n2")]);
    const inits = (await lab.node("n2").sh("hostname")).trim();
    expect(inits).toBe("n2");
    const pids = labTraces(lab.lab.place.dir, lab.lab.place.subnet).filter((trace) => trace.includes("systemd --system"));
    expect(pids).toHaveLength(2); // n1's and n2's
  }, minute);
});

describe("OpenZFS command lines in a node", () => {
  const lab = withLab(1);
  it("list, get, written, several snapshots, ranges, rename and receive with properties", async () => {
    const node = lab.node("n1");
    await node.sh(`${pool[0]}; zfs create data/a; zfs snapshot data/a@s1; printf x >/data/a/x; zfs snapshot data/a@s2 data/a@s3`);
    expect(await node.sh("zfs list -Hp -t snap -o name,guid,used -r data/a")).toMatch(/^data\/a@s1\t[0-9]{6,}\t[0-9]+\n/);
    expect(await node.sh("zfs get -Hp -t filesystem -r -o name,value written data/a")).toBe("data/a\t0\n");
    await node.sh("head -c 300000 /dev/urandom >/data/a/y");
    expect(Number((await node.sh("zfs get -Hp -o value written data/a")).trim())).toBeGreaterThan(290_000);
    await node.sh("zfs destroy data/a@s1%s2");
    expect(await node.sh("zfs list -H -o name -t snapshot -r data/a")).toBe("data/a@s3\n");
    await node.sh("zfs rename data/a data/b; zfs set user:one=1 user:two=2 data/b");
    expect(await node.sh("cat /data/b/x; zfs get -H -o value user:two data/b")).toBe("x2\n");
    await node.sh("zfs send -p data/b@s3 | zfs recv -u -s -o readonly=on -x user:one -o user:copy=yes data/c");
    expect(await node.sh("zfs get -Hp -o property,value readonly,user:copy,mounted data/c")).toBe("readonly\ton\nuser:copy\tyes\nmounted\tno\n");
    expect(await node.sh("zfs send -nP data/b@s3")).toMatch(/^size\t[0-9]+\n$/);
    // all or none: the second name exists, so the first must not stay
    expect((await node.exec(["zfs", "snapshot", "data/b@new", "data/b@s3"])).code).not.toBe(0);
    expect((await node.exec(["zfs", "list", "data/b@new"])).code).not.toBe(0);
  }, minute);
});

describe("labs of one machine", () => {
  it("lie beside each other in networks of their own, and leave nothing", async () => {
    const one = await makeTestLab(1);
    const traces: [string, number][] = [[one.lab.place.dir, one.lab.place.subnet]];
    try {
      await runWithLab(1, {}, async (two) => {
        traces.push([two.lab.place.dir, two.lab.place.subnet]);
        expect(two.lab.place.net.bridge).not.toBe(one.lab.place.net.bridge);
        for (const address of one.node("n1").addresses) expect((await two.node("n1").exec(["ping", "-c", "1", "-W", "1", address])).code).not.toBe(0);
        expect(one.node("n1").alive() && two.node("n1").alive()).toBe(true);
      });
    } finally {
      await one.destroy();
    }
    for (const [dir, subnet] of traces) {
      expect(labTraces(dir, subnet)).toEqual([]);
      expect(readEntry(subnet)?.dir).not.toBe(dir);
    }
  }, minute);

  it("limit a node's memory when asked to", async () => {
    await runWithLab(1, { memoryBytes: String(512 << 20) }, async (lab) => {
      const text = await lab.node("n1").sh("cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes");
      expect(text.trim()).toBe(String(512 << 20));
    });
  }, minute);
});
