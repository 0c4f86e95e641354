import { createZfs } from "../../daemon/zfs/create-zfs.js";
import { zfsCommands as commands } from "../../daemon/zfs/commands.js";
import { probeCapabilities } from "../../daemon/zfs/capabilities.js";
import { withLab } from "../support/lab.js";
import { zfsContract } from "../contract/zfs.js";
import { labSubject } from "../support/zfs-subject.js";

const lab = withLab(2);
zfsContract("command line on lab nodes", async () => [await labSubject(lab.node("n1"), "hpool"), await labSubject(lab.node("n2"), "hpool")]);

test("capabilities of the lab's zfs: none of the later features", async () => {
  const node = lab.node("n1");
  expect(await probeCapabilities(node.runner)).toMatchObject({ bookmarks: false, resumeTokens: false, rawSend: false, compressedSend: false, holdListing: false });
  expect(await createZfs(node.runner).resumable()).toBe(false);
  expect(await createZfs(node.runner).holds(["hpool@none"])).toBeUndefined();
  // the pool is there, so a probe that changed anything would show
  expect((await createZfs(node.runner).datasets("hpool")).some((dataset) => dataset.name.includes("probe"))).toBe(false);
});

test("command lines that the lab hands straight to its zfs are answered as by the translation of all others", async () => {
  const node = lab.node("n1");
  await node.sh("zfs create hpool/shim; zfs create hpool/shim/a; zfs create hpool/shim/b; zfs snapshot hpool/shim/a@1; zfs hold x hpool/shim/a@1; zfs snapshot hpool/shim/a@2; zfs set hybridcluster:unit=a hpool/shim/a; echo one > /hpool/shim/a/file; zfs unmount hpool/shim/b");
  const [both, ab, none] = [["hpool/shim/a", "hpool/shim/b"], "hpool/shim/a", "hpool/shim/none"];
  const asked = [
    commands.datasets("hpool/shim"), commands.datasets(none), commands.dataset(both), commands.dataset([none]), commands.look(both), commands.look([ab]), commands.look([none]), commands.lookAt(both), commands.lookAt([ab, `${ab}@2`, "hpool/shim/b"]), commands.lookAt([`${ab}@3`, ab]), commands.snapshots(both), commands.snapshots(["hpool/shim/b"]), commands.snapshots([none]),
    commands.allSnapshots("hpool/shim"), commands.guid(ab), commands.guid("hpool/shim/a@1"), commands.guid(none), commands.written("hpool/shim"), commands.written(ab), commands.written(none), commands.mounted(), commands.partials("hpool/shim"),
    ["zfs", "get", "-Hp", "-o", "property,value", "used,available,guid", "hpool"],
    // refused
    commands.snapshot([`${none}@1`]), commands.snapshot(["hpool/shim/a@1"]), commands.snapshot(["hpool/shim/b@new", "hpool/shim/a@1"]), commands.mount("hpool/shim/a"), commands.set("quota=1", [ab]), commands.set("hybridcluster:unit=a", [none]), commands.destroy(none), commands.destroy("hpool/shim"), commands.destroy("hpool/shim/a@1"), commands.rollback("hpool/shim/a@1"), commands.promote(ab),
    commands.send(`${ab}@3`, undefined), commands.send(`${ab}@2`, `${ab}@3`), commands.hold("x", ["hpool/shim/a@1"]), commands.release("y", ["hpool/shim/a@1"]), commands.unmount("hpool/shim/b"), commands.inherit(none, "hybridcluster:unit"), commands.rename(none, "hpool/shim/c"), commands.mount(none),
  ];
  const compare = 'same() { local one=0 two=0; zfs "$@" > /tmp/1 2> /tmp/2 || one=$?; zfs-translated "$@" > /tmp/3 2> /tmp/4 || two=$?; [ $one = $two ] && cmp -s /tmp/1 /tmp/3 && cmp -s /tmp/2 /tmp/4 || { echo "zfs $*: $one and $two"; cat /tmp/[1-4]; }; }';
  const answers = await node.sh([compare, ...asked.map((argv) => `same ${argv.slice(1).map((word) => `'${word}'`).join(" ")}`)].join("\n"));
  expect(answers.trim()).toBe("");
  // done, and seen by the real command
  expect(await node.sh(`zfs set hybridcluster:home=n1 hpool/shim/a hpool/shim/b; zfs send hpool/shim/a@1 | zfs receive -u hpool/shim/c; zfs send -i hpool/shim/a@1 hpool/shim/a@2 | zfs receive -u hpool/shim/c; zfs rollback hpool/shim/a@2; ls /hpool/shim/a; zfs release x hpool/shim/a@1; zfs destroy hpool/shim/a@1
    /usr/sbin/zfs get -H -o name,value hybridcluster:home hpool/shim/a hpool/shim/b; /usr/sbin/zfs list -H -o name -t snapshot -r hpool/shim; zfs destroy -r hpool/shim`)).toBe("hpool/shim/a\tn1\nhpool/shim/b\tn1\nhpool/shim/a@2\nhpool/shim/c@1\nhpool/shim/c@2\n");
});

test("what `written` knows of the newest snapshots follows whatever is done to them", async () => {
  const node = lab.node("n1");
  await node.sh("zfs create hpool/new; for site in a b c; do zfs create hpool/new/$site; done; zfs snapshot hpool/new/a@1; zfs snapshot hpool/new/b@1");
  const steps: [command: string, written: string][] = [
    ["true", "a=0 b=0 c=+"],
    ["echo one > /hpool/new/a/file", "a=+ b=0 c=+"],
    ["zfs snapshot hpool/new/a@2", "a=0 b=0 c=+"],
    ["zfs snapshot hpool/new/a@3 hpool/new/c@1", "a=0 b=0 c=0"],
    ["echo two > /hpool/new/c/file; zfs snapshot hpool/new/c@1 || true", "a=0 b=0 c=+"],
    ["zfs destroy hpool/new/a@3; zfs destroy hpool/new/a@2", "a=+ b=0 c=+"],
    ["zfs rollback hpool/new/a@1", "a=0 b=0 c=+"],
    ["zfs snapshot -r hpool/new@4", "a=0 b=0 c=0"],
    ["echo more > /hpool/new/b/file; /usr/sbin/zfs snapshot hpool/new/b@5; /usr/sbin/zfs destroy hpool/new/b@4", "a=0 b=0 c=0"], // past the lab's command: what is not there any more is looked for
    ["zfs rename hpool/new/b hpool/new/d; zfs rename hpool/new/a hpool/new/b; zfs rename hpool/new/d hpool/new/a", "a=0 b=0 c=0"],
    ["echo three > /hpool/new/a/file; zfs destroy hpool/new/c@4; zfs unmount hpool/new/b", "a=+ b=0 c=+"],
  ];
  for (const [command, expected] of steps) {
    const both = await node.sh(`${command}; zfs get -Hpr -t filesystem -o name,value written hpool/new; echo; zfs-translated get -Hpr -t filesystem -o name,value written hpool/new`);
    const [known = "", all = ""] = both.trim().split("\n\n");
    expect([command, known]).toEqual([command, all]);
    expect([command, known.split("\n").flatMap((line) => /new\/(.)\t(\d+)$/.exec(line)?.slice(1, 3).join("=").replace(/=[1-9].*/, "=+") ?? []).join(" ")]).toEqual([command, expected]);
  }
  await node.sh("zfs destroy -r hpool/new");
});

test("a forced unmount of what is in use is refused as by OpenZFS on Linux, and the node's other mounts go on answering", async () => {
  const node = lab.node("n1");
  await node.sh("zfs create hpool/busy; zfs create hpool/other");
  const forced = 'zfs unmount -f hpool/busy 2>&1 || echo "exit $?"';
  const answers = await node.sh(`exec 3> /hpool/busy/open; echo one >&3; ${forced}; cat /hpool/busy/open; exec 3>&-; ${forced}; echo two > /hpool/other/file; timeout 10 zfs mount hpool/busy; cat /hpool/busy/open /hpool/other/file`);
  expect(answers).toMatch(/^.*target is busy.*\n.*\nexit 1\none\none\ntwo\n$/);
  await node.sh("zfs destroy hpool/busy; zfs destroy hpool/other");
});
