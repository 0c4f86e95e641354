import { Readable } from "node:stream";
import type { CommandResult } from "../../../daemon/lib/command.js";
import { zfsCommands as commands } from "../../../daemon/zfs/commands.js";
import type { Machine } from "./machine.js";

export interface Failure { argv: string[]; exit: number; stderr: string }

/** Makes the real zfs refuse in every way that errors.ts knows, with the product's own command lines: what it said, by the names of test/golden/zfs.test.ts. Works below `<pool>/hc` of two pools. */
export async function provoke(machine: Machine, [here, there]: readonly [string, string]): Promise<Record<string, Failure>> {
  const { runner, ok } = machine;
  const seen: Record<string, Failure> = {};
  async function run(argv: readonly string[], input?: Buffer): Promise<CommandResult> {
    return await runner.run(argv, { timeoutMs: 120_000, ...(input === undefined ? {} : { input: Readable.from([input], { objectMode: false }) }) });
  }
  async function refused(name: string, argv: string[], input?: Buffer): Promise<void> {
    const { code, stderr } = await run(argv, input);
    seen[name] = { argv: argv.map((word) => (word.length > 200 ? "…" : word)), exit: code, stderr };
  }
  const must = async (...argvs: readonly string[][]): Promise<void> => {
    for (const argv of argvs) await ok(argv);
  };
  const stream = async (snapshot: string, base?: string): Promise<Buffer> => {
    const encoded = await ok(["sh", "-c", 'if [ -n "$2" ]; then zfs send -i "$2" "$1"; else zfs send "$1"; fi | base64 -w0', "sh", snapshot, base ?? ""]);
    return Buffer.from(encoded, "base64");
  };
  const [root, far] = [`${here}/hc`, `${there}/hc`];
  const [template, site, v1] = [`${root}/tmpl-php`, `${root}/site-wiki`, `${root}/tmpl-php@1.0`];
  const s1 = `${site}@3-20260102T030405.678Z-n1`;
  const s2 = `${site}@3-20260102T030406.678Z-n1`;
  await must(commands.create(root, {}), commands.create(far, {}), commands.create(template, { canmount: "noauto" }), commands.snapshot([v1]), commands.clone(v1, site, { canmount: "noauto" }), commands.mount(site));
  await ok(["dd", `of=/${site}/page`, "conv=fsync", "status=none"], { input: "x".repeat(200_000) });
  await must(commands.snapshot([s1]), commands.snapshot([s2]), commands.hold("hc:n2", [s2]));

  await refused("missing-dataset", commands.datasets(`${root}/none`));
  await refused("missing-snapshot", commands.destroy(`${site}@none`));
  await refused("missing-parent", commands.create(`${root}/none/x`, {}));
  await refused("missing-send", commands.send(`${site}@none`, undefined));
  await refused("missing-rename", commands.rename(`${root}/none`, `${root}/x`));
  await refused("exists-dataset", commands.create(site, {}));
  await refused("exists-snapshot", commands.snapshot([s2]));
  await refused("exists-rename", commands.rename(site, template));
  await refused("already-mounted", commands.mount(site));
  await refused("not-mounted", commands.unmount(template));
  await refused("already-held", commands.hold("hc:n2", [s2]));
  await refused("no-tag", commands.release("hc:n9", [s2]));
  await refused("held", commands.destroy(s2));
  await refused("has-clones", commands.destroy(v1));
  await refused("has-children", commands.destroy(template));
  await ok(["sh", "-c", 'cd "$1" && (sleep 300 >/dev/null 2>&1 & echo $! >/tmp/sleeper)', "sh", `/${site}`]);
  await refused("mounted-busy", commands.unmount(site));
  await ok(["sh", "-c", 'kill "$(cat /tmp/sleeper)"']);
  await refused("quota-below-used", commands.set("quota=65536", [site]));

  const [first, whole, increment] = [await stream(s1, v1), await stream(v1), await stream(s2, s1)];
  const altered = Buffer.from(first);
  altered.writeUInt8(altered.readUInt8(altered.length >> 1) ^ 0xff, altered.length >> 1);
  const [farSite, farTemplate] = [`${far}/site-wiki`, `${far}/tmpl-php`];
  await refused("no-origin", commands.receive(farSite, {}), first);
  await run(commands.receive(farTemplate, { readonly: "on", canmount: "noauto" }), whole);
  await refused("receive-altered", commands.receive(farSite, {}), altered);
  await refused("receive-cut", commands.receive(farSite, {}), first.subarray(0, first.length - 400));
  await refused("receive-cut-early", commands.receive(farSite, {}), first.subarray(0, 100));
  await refused("receive-empty", commands.receive(farSite, {}), Buffer.alloc(0));
  await refused("receive-missing", commands.receive(`${far}/site-none`, {}), increment);
  await run(commands.receive(farSite, { canmount: "noauto" }), first);
  await refused("receive-exists", commands.receive(farTemplate, {}), whole);
  await run(commands.receive(farSite, {}), increment);
  await refused("receive-again", commands.receive(farSite, {}), increment);
  await must(["zfs", "mount", farSite], ["dd", "if=/dev/zero", `of=/${farSite}/stray`, "bs=1k", "count=1", "conv=fsync", "status=none"], ["zpool", "sync", there], commands.unmount(farSite));
  await must(["dd", "if=/dev/zero", `of=/${site}/more`, "bs=1k", "count=4", "conv=fsync", "status=none"], commands.snapshot([`${site}@s3`]));
  await refused("receive-modified", commands.receive(farSite, {}), await stream(`${site}@s3`, s2));

  await must(commands.rollback(`${farSite}@${s2.split("@")[1]}`), commands.snapshot([`${site}@s3b`]));
  await refused("receive-mismatch", commands.receive(farSite, {}), await stream(`${site}@s3b`, `${site}@s3`));

  const part = await stream(`${site}@s3`, s2);
  await refused("receive-kept", commands.receive(farSite, {}, { resumable: true }), part.subarray(0, part.length - 400));
  const token = (await ok(["zfs", "get", "-Hp", "-o", "value", "receive_resume_token", farSite])).trim();
  await refused("receive-partial", commands.receive(farSite, {}), part);
  await refused("base-of-partial", commands.destroy(s2.replace(site, farSite)));
  await must(commands.abortReceive(farSite));
  await refused("no-partial", commands.abortReceive(farSite));
  await refused("no-partial-at-all", commands.abortReceive(`${far}/none`));
  await must(commands.destroy(`${site}@s3b`), commands.destroy(`${site}@s3`));
  await refused("resume-gone", commands.resume(token));

  const full = `${root}/full`;
  await must(commands.create(full, { quota: "1048576" }));
  await refused("write-space", ["dd", "if=/dev/urandom", `of=/${full}/f`, "bs=64k", "count=64", "conv=fsync", "status=none"]);
  await must(commands.create(`${far}/small`, { quota: "1048576" }));
  await must(["dd", "if=/dev/urandom", `of=/${site}/big`, "bs=64k", "count=64", "conv=fsync", "status=none"], commands.snapshot([`${site}@s4`]));
  await must(commands.set("quota=1048576", [farSite]));
  await refused("receive-space", commands.receive(farSite, {}), await stream(`${site}@s4`, s2));
  return seen;
}
