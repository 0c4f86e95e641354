import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { zfsFailure } from "../../daemon/zfs/errors.js";
import type { ZfsSubject } from "./zfs.js";

/** What every Zfs does that can receive in parts, and tell who holds what. `make` gives two machines with fresh roots; it may be called after other suites have used them. */
export function zfsResumeContract(name: string, make: () => Promise<[ZfsSubject, ZfsSubject]>): void {
  describe(`Zfs, receives in parts: ${name}`, () => {
    let one: ZfsSubject;
    let two: ZfsSubject;
    const never = new AbortController().signal;
    const text = (bytes: number): string => randomBytes(bytes / 2).toString("hex");
    const whole = (bytes: Buffer): Readable => Readable.from([bytes], { objectMode: false });
    beforeAll(async () => {
      [one, two] = await make();
    }, 600_000);
    async function collect(sent: { stream: Readable; done: Promise<void> }): Promise<Buffer> {
      sent.done.catch(() => undefined); // its error also ends the stream
      const chunks: Buffer[] = [];
      for await (const chunk of sent.stream) chunks.push(Buffer.from(chunk as Uint8Array));
      await sent.done;
      return Buffer.concat(chunks);
    }
    const failing = (act: Promise<unknown>): Promise<unknown> => act.then(() => Promise.reject(new Error("was expected to fail")), (error: unknown) => error);
    const newest = async (subject: ZfsSubject, dataset: string) => (await subject.zfs.snapshots(dataset)).at(-1);
    async function make1(dataset: string, file: string): Promise<string> {
      const full = `${one.root}/${dataset}`;
      await one.zfs.create(full, { canmount: "noauto" });
      await one.zfs.mount(full);
      await one.write(full, "page", file);
      await one.zfs.snapshot([`${full}@s1`]);
      return full;
    }
    async function cut(target: string, bytes: Buffer, properties: Record<string, string> = {}): Promise<void> {
      const error = await failing(two.zfs.receive(target, whole(bytes.subarray(0, bytes.length >> 1)), properties, never, { resumable: true }));
      expect(zfsFailure(error)).toBe("bad-stream");
    }

    test("who holds a snapshot is told, of many by one question; one that is gone is an error", async () => {
      const dataset = `${one.root}/told`;
      await one.zfs.create(dataset, {});
      const [a, b, c] = ["a", "b", "c"].map((name) => `${dataset}@${name}`) as [string, string, string];
      await one.zfs.snapshot([a, b, c]);
      await Promise.all([one.zfs.hold("hc:n2", a), one.zfs.hold("hc:keep", a), one.zfs.hold("a person's", c)]);
      const told = await one.zfs.holds([a, b, c, a]);
      expect([...(told ?? [])].map(([snapshot, tags]) => [snapshot, [...tags].sort()]).sort()).toEqual([[a, ["hc:keep", "hc:n2"]], [c, ["a person's"]]]);
      expect(await one.zfs.holds([])).toEqual(new Map());
      expect(zfsFailure(await failing(one.zfs.holds([`${dataset}@none`])))).toBe("missing");
    });

    test("a first stream that was cut goes on where it ended; the rest is smaller; guid and content are those of the sender", async () => {
      expect(await one.zfs.resumable()).toBe(true);
      const page = text(3_000_000);
      const from = await make1("resume-first", page);
      const bytes = await collect(one.zfs.send(`${from}@s1`, undefined, never));
      const target = `${two.root}/resume-first`;
      await cut(target, bytes, { readonly: "on", canmount: "noauto", "hybridcluster:partial": "1.2.3" });
      // there already, with what was set, but no snapshot
      expect((await two.zfs.look(target))?.dataset).toMatchObject({ mounted: false, user: { partial: "1.2.3" } });
      expect(await two.zfs.snapshots(target)).toEqual([]);
      const token = (await two.zfs.partials(two.root)).get(target) ?? "";
      expect(await one.zfs.readToken(token)).toEqual({ snapshot: `${from}@s1`, guid: (await newest(one, from))?.guid });
      // nothing but the rest is taken now
      expect(zfsFailure(await failing(two.zfs.receive(target, whole(bytes), {}, never)))).toMatch(/^(partial|exists)$/);
      const rest = await collect(one.zfs.resume(token, never));
      expect(rest.length).toBeLessThan(bytes.length * 0.8);
      await two.zfs.receive(target, whole(rest), { "hybridcluster:epoch": "7" }, never, { resumable: true });
      expect((await two.zfs.partials(two.root)).has(target)).toBe(false);
      expect((await newest(two, target))?.guid).toBe((await newest(one, from))?.guid);
      expect((await two.zfs.look(target))?.dataset).toMatchObject({ readonly: true, mounted: false, user: { partial: "1.2.3", epoch: "7" } });
      await two.zfs.set(target, { readonly: "off" });
      await two.zfs.mount(target);
      expect(await two.read(target, "page")).toBe(page);
    });

    test("an increment that was cut, twice, goes on; meanwhile the copy is what it was, and no other stream is taken", async () => {
      const from = await make1("resume-increment", text(100_000));
      const target = `${two.root}/resume-increment`;
      await two.zfs.receive(target, whole(await collect(one.zfs.send(`${from}@s1`, undefined, never))), { readonly: "on", canmount: "noauto" }, never);
      await one.write(from, "more", text(3_000_000));
      await one.zfs.snapshot([`${from}@s2`]);
      const bytes = await collect(one.zfs.send(`${from}@s2`, `${from}@s1`, never));
      await cut(target, bytes);
      const first = (await two.zfs.partials(target)).get(target) ?? "";
      expect((await two.zfs.snapshots(target)).map(({ name: short }) => short)).toEqual(["s1"]);
      expect(zfsFailure(await failing(two.zfs.receive(target, whole(bytes), {}, never)))).toBe("partial");
      // an interrupted receive stands on the newest snapshot
      expect(zfsFailure(await failing(two.zfs.destroy(`${target}@s1`)))).toMatch(/^(has-clones|busy)$/);
      await cut(target, await collect(one.zfs.resume(first, never)));
      const second = (await two.zfs.partials(target)).get(target) ?? "";
      const rest = await collect(one.zfs.resume(second, never));
      expect(rest.length).toBeLessThan(bytes.length * 0.5);
      await two.zfs.receive(target, whole(rest), {}, never, { resumable: true });
      expect((await newest(two, target))?.guid).toBe((await newest(one, from))?.guid);
      expect(await two.zfs.partials(target)).toEqual(new Map());
    });

    test("given up: a first stream leaves nothing, an increment the copy as it was; a token of what is gone is no token", async () => {
      const from = await make1("resume-abort", text(1_000_000));
      const bytes = await collect(one.zfs.send(`${from}@s1`, undefined, never));
      const target = `${two.root}/resume-abort`;
      await cut(target, bytes);
      await two.zfs.abortReceive(target);
      expect(await two.zfs.look(target)).toBeUndefined();
      await two.zfs.abortReceive(target);
      await two.zfs.receive(target, whole(bytes), { canmount: "noauto" }, never);
      await one.write(from, "more", text(1_000_000));
      await one.zfs.snapshot([`${from}@s2`]);
      await cut(target, await collect(one.zfs.send(`${from}@s2`, `${from}@s1`, never)));
      const token = (await two.zfs.partials(target)).get(target) ?? "";
      await one.zfs.destroy(`${from}@s2`);
      expect(zfsFailure(await failing(one.zfs.readToken(token)))).toBe("missing");
      await expect(collect(one.zfs.resume(token, never))).rejects.toMatchObject({ code: "NOT_FOUND" });
      await two.zfs.abortReceive(target);
      await two.zfs.abortReceive(target);
      expect(await two.zfs.partials(two.root)).toEqual(new Map());
      await one.zfs.snapshot([`${from}@s3`]);
      await two.zfs.receive(target, whole(await collect(one.zfs.send(`${from}@s3`, `${from}@s1`, never))), {}, never);
    });

    test("a dataset with an interrupted receive can be renamed, and what was kept goes along", async () => {
      const from = await make1("resume-rename", text(1_000_000));
      const target = `${two.root}/resume-rename`;
      await two.zfs.receive(target, whole(await collect(one.zfs.send(`${from}@s1`, undefined, never))), { canmount: "noauto" }, never);
      await one.write(from, "more", text(1_000_000));
      await one.zfs.snapshot([`${from}@s2`]);
      await cut(target, await collect(one.zfs.send(`${from}@s2`, `${from}@s1`, never)));
      await two.zfs.rename(target, `${target}-away`);
      expect([...(await two.zfs.partials(two.root)).keys()]).toEqual([`${target}-away`]);
      await two.zfs.abortReceive(`${target}-away`);
      await two.zfs.destroy(`${target}-away@s1`);
      await two.zfs.destroy(`${target}-away`);
    });

    test("what is no token reaches no command line", async () => {
      for (const token of ["", "-F", "1-a-b-c; reboot", "1-zz-1-00"]) await expect(one.zfs.readToken(token)).rejects.toBeDefined();
    });
  });
}
