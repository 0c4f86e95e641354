import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zfsCommands as commands } from "../../daemon/zfs/commands.js";
import { recognize, zfsError } from "../../daemon/zfs/errors.js";
import { failuresOfLab, failuresOfOpenZfs } from "../support/zfs-failures.js";
import { parseDatasets, parseMounted, parseSnapshots, parseWritten } from "../../daemon/zfs/parse.js";

/** Outputs recorded on a lab node (zfs-fuse 0.7.0 behind the lab's zfs). */
const fixture = (name: string): string => readFileSync(join(process.cwd(), "test/fixtures/zfs", name), "utf8");

test("command lines", () => {
  const s = "hpool/hc/site-a@1-20260102T030405.678Z-n1";
  expect(commands.snapshots(["hpool/hc/site-a"]).join(" ")).toBe("zfs get -Hp -r -d 1 -t snapshot -o name,property,value guid,createtxg,creation,userrefs hpool/hc/site-a");
  expect(commands.allSnapshots("hpool/hc").join(" ")).toBe("zfs get -Hp -r -d 2 -t snapshot -o name,property,value guid,createtxg,creation,userrefs hpool/hc");
  expect(commands.written("hpool/hc").join(" ")).toBe("zfs get -Hpr -t filesystem -o name,value written hpool/hc");
  expect(commands.datasets("hpool/hc").slice(0, 8).join(" ")).toBe("zfs get -Hp -r -t filesystem -o name,property,value,source");
  expect(commands.datasets("hpool/hc").at(8)).toContain("guid,origin,mounted,mountpoint,readonly,used,referenced,available,quota,hybridcluster:unit,");
  expect(commands.create("hpool/hc/site-a", { canmount: "noauto", "hybridcluster:definition": '{"a": "b c"}' })).toEqual(["zfs", "create", "-o", "canmount=noauto", "-o", 'hybridcluster:definition={"a": "b c"}', "hpool/hc/site-a"]);
  expect(commands.clone("hpool/hc/tmpl-p@1", "hpool/hc/site-a", { canmount: "noauto" }).join(" ")).toBe("zfs clone -o canmount=noauto hpool/hc/tmpl-p@1 hpool/hc/site-a");
  expect(commands.snapshot([s, "hpool/hc/site-b@x"])).toEqual(["zfs", "snapshot", s, "hpool/hc/site-b@x"]);
  expect(commands.set("quota=1G", ["hpool/hc/site-a", "hpool/hc/site-b"])).toEqual(["zfs", "set", "quota=1G", "hpool/hc/site-a", "hpool/hc/site-b"]);
  expect(commands.send(s, undefined)).toEqual(["zfs", "send", s]);
  expect(commands.send(s, "hpool/hc/tmpl-p@1")).toEqual(["zfs", "send", "-i", "hpool/hc/tmpl-p@1", s]);
  expect(commands.receive("hpool/hc/site-a", { readonly: "on" })).toEqual(["zfs", "receive", "-u", "-o", "readonly=on", "hpool/hc/site-a"]);
  expect([commands.hold("hc:n2", [s, "b@c"]), commands.release("hc:n2", [s]), commands.rollback(s), commands.promote("a"), commands.rename("a", "b"), commands.destroy(s), commands.mount("a"), commands.unmount("a"), commands.inherit("a", "p:q")].map((argv) => argv.slice(1).join(" "))).toEqual([
    `hold hc:n2 ${s} b@c`, `release hc:n2 ${s}`, `rollback ${s}`, "promote a", "rename a b", `destroy ${s}`, "mount a", "unmount a", "inherit p:q a",
  ]);
});

test("no command that changes anything can force, recurse or roll back a receive", () => {
  for (const [name, make] of Object.entries(commands)) {
    const argv = (make as (...args: unknown[]) => (string | string[])[])(["snapshot", "snapshots", "look"].includes(name) ? ["a@b"] : "a@b", name === "create" || name === "receive" ? { p: "v" } : name === "hold" || name === "release" || name === "set" ? ["c@d"] : "c@d", {}).flat();
    expect(argv[0]).toBe("zfs");
    // the fencer's: it loses nothing that was written
    if (name === "forceUnmount") expect(argv).toEqual(["zfs", "unmount", "-f", "a@b"]);
    else if (argv[1] !== "get") for (const word of argv.slice(2)) expect(word).not.toMatch(/^-[a-zA-Z]*[rRfF]/);
  }
});

test("datasets: values with tabs, inherited and unset user properties, a clone's origin", () => {
  const [root, site, template] = parseDatasets(fixture("datasets.txt"));
  expect(root).toEqual({ name: "hpool/hc", guid: "108098777394352819", origin: "", mounted: true, mountpoint: "/hc", readonly: false, usedBytes: "3481600", referencedBytes: "131072", availableBytes: "1027723264", quotaBytes: "0", user: {} });
  expect(site).toMatchObject({ name: "hpool/hc/site-wiki", guid: "2864848798091524789", origin: "hpool/hc/tmpl-php@1.0", mounted: true, quotaBytes: "104857600", user: { unit: "site-wiki", epoch: "3", definition: '{"version":1,"name":"wi\tki"}' } });
  expect(template).toMatchObject({ mounted: false, user: {} });
  expect(parseDatasets("a\thybridcluster:unit\tx\tinherited from b\na\tused\t18446744073709551615\t-\n")[0]).toMatchObject({ user: {}, usedBytes: "18446744073709551615" });
});

test("snapshots: by dataset, in the order of createtxg, with holds", () => {
  const all = parseSnapshots(fixture("snapshots.txt"));
  expect([...all.keys()]).toEqual(["hpool/hc/site-wiki", "hpool/hc/tmpl-php"]);
  expect(all.get("hpool/hc/site-wiki")).toEqual([
    { name: "3-20260102T030405.678Z-n1", guid: "1857821170200809226", createtxg: "30", atMs: 1795416952000, userrefs: 0 },
    { name: "3-20260102T030406.678Z-n1", guid: "1024631600093195368", createtxg: "40", atMs: 1795416952000, userrefs: 1 },
  ]);
  const lines = (name: string, txg: string): string => `d@${name}\tguid\t1\nd@${name}\tcreatetxg\t${txg}\nd@${name}\tcreation\t5\nd@${name}\tuserrefs\t0\n`;
  expect(parseSnapshots(lines("b", "100") + lines("a", "99")).get("d")?.map((item) => item.name)).toEqual(["a", "b"]);
});

test("mounted: the table of `zfs mount`, as zfs-fuse and OpenZFS print it", () => {
  expect(parseMounted("hpool                           /hpool\nhpool/hc/site-a                 /hc/site-a\nb                               /mnt/with blank\n")).toEqual(new Map([["hpool", "/hpool"], ["hpool/hc/site-a", "/hc/site-a"], ["b", "/mnt/with blank"]]));
  expect(parseMounted("")).toEqual(new Map());
});

test("written", () => {
  expect(parseWritten(fixture("written.txt"))).toEqual(new Map([["hpool/hc", "131072"], ["hpool/hc/site-wiki", "102400"], ["hpool/hc/tmpl-php", "0"]]));
  expect(parseWritten("a\t-\n")).toEqual(new Map([["a", "0"]]));
});

test("what is not zfs -Hp output is refused", () => {
  expect(() => parseDatasets("a\tused\t3.4M\t-\n")).toThrow("-p");
  expect(() => parseWritten("no tab\n")).toThrow("columns");
});

/** What zfs-fuse of the lab said, and OpenZFS 2.1.11 (recorded by `npm run test:openzfs`). */
for (const [file, expected] of [["failures.json", failuresOfLab], ["failures-openzfs.json", failuresOfOpenZfs]] as const) {
  const recorded = JSON.parse(fixture(file)) as Record<string, { argv: string[]; exit: number; stderr: string }>;
  test(`every failure recorded in ${file} is expected, and the other way round`, () => {
    expect(Object.keys(recorded).sort()).toEqual(Object.keys(expected).sort());
  });
  test.each(Object.entries(recorded))(`${file}: %s`, (name, { argv, exit, stderr }) => {
    expect(exit).not.toBe(0);
    const error = zfsError(argv, { code: exit, signal: null, stdout: "", stderr, durationMs: 1 });
    expect([error.context["zfs"], error.code]).toEqual(expected[name]);
  });
}

/** Texts of OpenZFS 2.1.11's libzfs where they differ from the lab's (lib/libzfs/libzfs_dataset.c, libzfs_sendrecv.c); not recorded on a running one. */
test.each([
  ["cannot destroy 'p/a@s': dataset is busy", "busy"],
  ["cannot rollback 'p/a': I/O error", "busy"],
  ["cannot receive 'p/a': I/O error", undefined],
  ["cannot unmount '/hc/a': pool or dataset is busy", "busy"],
  ["cannot release hold from snapshot 'p/a@s': no such tag on this dataset", "no-tag"],
  ["cannot hold snapshot 'p/a@s': tag already exists on this dataset", "already"],
  ["cannot receive incremental stream: destination p/a has been modified\nsince most recent snapshot", "modified"],
  ["cannot receive new filesystem stream: destination 'p/a' exists\nmust specify -F to overwrite it", "exists"],
  ["cannot mount '/hc/site-a': directory is not empty", "not-empty"],
])("OpenZFS text %j", (stderr, failure) => {
  expect(recognize(stderr)?.failure).toBe(failure);
});
test("an unknown text stays a plain failed command", () => {
  const error = zfsError(["zfs", "get"], { code: 1, signal: null, stdout: "", stderr: "something new: dataset is busy or so", durationMs: 1 });
  expect([error.code, error.context["zfs"]]).toEqual(["COMMAND_FAILED", undefined]);
});
