import { PassThrough, Readable } from "node:stream";
import { errorCode } from "../../daemon/lib/errors.js";
import { zfsFailure } from "../../daemon/zfs/errors.js";
import type { Zfs } from "../../daemon/zfs/zfs.js";

/** One machine's ZFS with a way to be a tenant on it. */
export interface ZfsSubject {
  zfs: Zfs;
  /** An existing dataset to work below. */
  root: string;
  write(dataset: string, file: string, text: string): Promise<void>;
  /** Text of a file, undefined when there is none. Of a mounted dataset. */
  read(dataset: string, file: string): Promise<string | undefined>;
}

/** What every Zfs does, the in-memory one and the command line's. `make` gives two machines with fresh roots. */
export function zfsContract(name: string, make: () => Promise<[ZfsSubject, ZfsSubject]>): void {
  describe(`Zfs: ${name}`, () => {
    let one: ZfsSubject;
    let two: ZfsSubject;
    const never = new AbortController().signal;
    beforeAll(async () => {
      [one, two] = await make();
    }, 600_000);
    const failing = async (act: Promise<unknown>): Promise<unknown> => {
      try {
        await act;
      } catch (error) {
        return error;
      }
      throw new Error("was expected to fail");
    };
    const newest = async (subject: ZfsSubject, dataset: string) => (await subject.zfs.snapshots(dataset)).at(-1);
    async function make1(dataset: string): Promise<string> {
      const full = `${one.root}/${dataset}`;
      await one.zfs.create(full, { canmount: "noauto", "hybridcluster:unit": dataset });
      await one.zfs.mount(full);
      return full;
    }
    async function carry(snapshot: string, base: string | undefined, target: string, properties: Record<string, string> = {}): Promise<void> {
      const { stream, done } = one.zfs.send(snapshot, base, never);
      await Promise.all([done, two.zfs.receive(target, stream, properties, never)]);
    }

    test("creates, describes, mounts and unmounts; doing it twice is success", async () => {
      const dataset = await make1("describe");
      await one.zfs.mount(dataset);
      await one.zfs.set(dataset, { "hybridcluster:definition": '{"a": "x\ty", "n": 1}', quota: "10485760" });
      const [seen] = await one.zfs.datasets(dataset);
      expect(seen).toMatchObject({ name: dataset, origin: "", mounted: true, readonly: false, quotaBytes: "10485760", user: { unit: "describe", definition: '{"a": "x\ty", "n": 1}' } });
      expect(seen?.guid).toMatch(/^[0-9]+$/);
      expect((await one.zfs.mounted()).has(dataset)).toBe(true);
      await one.zfs.unmount(dataset);
      await one.zfs.unmount(dataset);
      await one.zfs.unmount(dataset, { force: true });
      expect((await one.zfs.mounted()).has(dataset)).toBe(false);
      await one.zfs.inherit(dataset, "hybridcluster:definition");
      await one.zfs.set(dataset, { readonly: "on" }); // while mounted, zfs shows what the mount has
      expect((await one.zfs.datasets(dataset))[0]).toMatchObject({ mounted: false, readonly: true, user: { unit: "describe" } });
      expect((await one.zfs.datasets(one.root)).map((item) => item.name)).toEqual(expect.arrayContaining([one.root, dataset]));
      await one.zfs.snapshot([`${dataset}@v1`]);
      await one.zfs.snapshot([`${dataset}@v2`]);
      expect(await one.zfs.look(dataset)).toEqual({ dataset: (await one.zfs.datasets(dataset))[0], snapshots: await one.zfs.snapshots(dataset) });
      expect((await one.zfs.look(dataset))?.snapshots.map(({ name }) => name)).toEqual(["v1", "v2"]);
      expect(await one.zfs.look(`${one.root}/none`)).toBeUndefined();
      expect(await one.zfs.lookAt(dataset, ["v2"])).toEqual({ dataset: (await one.zfs.datasets(dataset))[0], snapshots: [await newest(one, dataset)] });
      expect(await one.zfs.lookAt(dataset, [])).toEqual({ dataset: (await one.zfs.datasets(dataset))[0], snapshots: [] });
      for (const missing of [() => one.zfs.lookAt(dataset, ["v1", "none"]), () => one.zfs.lookAt(`${one.root}/none`, [])]) expect(zfsFailure(await failing(missing()))).toBe("missing");
      expect(await one.zfs.dataset(dataset)).toEqual((await one.zfs.datasets(dataset))[0]);
      expect(await one.zfs.dataset(`${one.root}/none`)).toBeUndefined();
    });

    test("asked together, each gets its own answer, and trouble with one is that one's", async () => {
      const datasets = await Promise.all(["t1", "t2", "t3"].map(make1));
      await one.zfs.snapshot(datasets.map((dataset) => `${dataset}@a`));
      const asked = [...datasets, `${one.root}/none`, ...datasets];
      expect((await Promise.all(asked.map((dataset) => one.zfs.look(dataset)))).map((seen) => seen?.dataset.name)).toEqual([...datasets, undefined, ...datasets]);
      const named = await Promise.allSettled(asked.map((dataset, at) => one.zfs.lookAt(dataset, at % 2 === 0 ? ["a"] : [])));
      expect(named.map((seen) => (seen.status === "fulfilled" ? [seen.value.dataset.name, ...seen.value.snapshots.map(({ name }) => name)] : errorCode(seen.reason)))).toEqual(asked.map((dataset, at) => (at === 3 ? "NOT_FOUND" : at % 2 === 0 ? [dataset, "a"] : [dataset])));
      const lists = await Promise.allSettled(asked.map((dataset) => one.zfs.snapshots(dataset)));
      expect(lists.map((list) => (list.status === "fulfilled" ? list.value.map(({ name }) => name) : errorCode(list.reason)))).toEqual([["a"], ["a"], ["a"], "NOT_FOUND", ["a"], ["a"], ["a"]]);
      await one.zfs.hold("hc:n2", `${datasets[1]}@a`);
      const held = await Promise.allSettled(asked.map((dataset) => one.zfs.hold("hc:n2", `${dataset}@a`)));
      expect(held.map((hold) => (hold.status === "fulfilled" ? "held" : errorCode(hold.reason)))).toEqual(["held", "held", "held", "NOT_FOUND", "held", "held", "held"]);
      expect((await Promise.all(datasets.map((dataset) => one.zfs.snapshots(dataset)))).flat().map(({ userrefs }) => userrefs)).toEqual([1, 1, 1]);
      // where the tag is on some already, the others get it too
      await one.zfs.hold("hc:n3", `${asked[0]}@a`);
      await Promise.all(datasets.map((dataset) => one.zfs.hold("hc:n3", `${dataset}@a`)));
      expect((await Promise.all(datasets.map((dataset) => one.zfs.snapshots(dataset)))).flat().map(({ userrefs }) => userrefs)).toEqual([2, 2, 2]);
      await Promise.all(datasets.map((dataset) => one.zfs.release("hc:n3", `${dataset}@a`)));
      // one that is not held, and one that is not there, are no failure of the others
      await Promise.all([one.zfs.release("hc:n2", `${one.root}@none`), one.zfs.release("hc:n2", `${asked[0]}@gone`), ...asked.map((dataset) => one.zfs.release("hc:n2", `${dataset}@a`))]);
      expect((await Promise.all(datasets.map((dataset) => one.zfs.snapshots(dataset)))).flat().map(({ userrefs }) => userrefs)).toEqual([0, 0, 0]);
    });

    test("names what is missing and what exists", async () => {
      const dataset = await make1("errors");
      for (const act of [() => one.zfs.snapshots(`${one.root}/none`), () => one.zfs.datasets(`${one.root}/none`), () => one.zfs.destroy(`${one.root}/none`), () => one.zfs.destroy(`${dataset}@none`), () => one.zfs.snapshot([`${one.root}/none@a`]), () => one.zfs.create(`${one.root}/none/deeper`, {}), () => one.zfs.clone(`${dataset}@none`, `${one.root}/c`, {}), () => one.zfs.rename(`${one.root}/none`, `${one.root}/x`), () => one.zfs.mount(`${one.root}/none`)]) {
        const error = await failing(act());
        expect([errorCode(error), zfsFailure(error)]).toEqual(["NOT_FOUND", "missing"]);
      }
      await one.zfs.snapshot([`${dataset}@a`]);
      for (const act of [() => one.zfs.create(dataset, {}), () => one.zfs.snapshot([`${dataset}@a`]), () => one.zfs.rename(`${one.root}/describe`, dataset)]) {
        const error = await failing(act());
        expect([errorCode(error), zfsFailure(error)]).toEqual(["ALREADY_EXISTS", "exists"]);
      }
    });

    test("snapshots several datasets at once and lists them oldest first", async () => {
      const [a, b] = [await make1("many-a"), await make1("many-b")];
      await one.zfs.snapshot([`${a}@s1`, `${b}@s1`]);
      await one.zfs.snapshot([`${a}@s0`]);
      const listed = await one.zfs.snapshots(a);
      expect(listed.map((item) => [item.name, item.userrefs])).toEqual([["s1", 0], ["s0", 0]]);
      expect(new Set(listed.map((item) => item.guid)).size).toBe(2);
      expect(Math.abs((listed[0]?.atMs ?? 0) - Date.now())).toBeLessThan(3_600_000);
      const all = await one.zfs.allSnapshots(one.root);
      expect(all.get(b)?.map((item) => item.name)).toEqual(["s1"]);
      const deep = await make1("many-a/deep");
      await one.zfs.snapshot([`${deep}@s`]);
      expect((await one.zfs.allSnapshots(one.root)).has(deep)).toBe(false);
      expect(await one.zfs.snapshots(deep)).toHaveLength(1);
      expect(await one.zfs.snapshots(one.root)).toEqual([]);
    });

    test("written: exact zero after a snapshot, more than zero after a write, for the whole tree in one go", async () => {
      const [a, b] = [await make1("written-a"), await make1("written-b")];
      await one.write(a, "f", "hello");
      await one.zfs.snapshot([`${a}@s`, `${b}@s`]);
      const clean = await one.zfs.written(one.root);
      expect([clean.get(a), clean.get(b)]).toEqual(["0", "0"]);
      await one.write(b, "g", "new");
      const dirty = await one.zfs.written(one.root);
      expect(dirty.get(a)).toBe("0");
      expect(BigInt(dirty.get(b) ?? "0")).toBeGreaterThan(0n);
    });

    test("holds keep a snapshot; both are idempotent", async () => {
      const dataset = await make1("holds");
      await one.zfs.snapshot([`${dataset}@s`]);
      await one.zfs.hold("hc:n2", `${dataset}@s`);
      await one.zfs.hold("hc:n2", `${dataset}@s`);
      await one.zfs.hold("hc:n3", `${dataset}@s`);
      expect((await newest(one, dataset))?.userrefs).toBe(2);
      const error = await failing(one.zfs.destroy(`${dataset}@s`));
      expect([errorCode(error), zfsFailure(error)]).toEqual(["NOT_READY", "busy"]);
      await one.zfs.release("hc:n2", `${dataset}@s`);
      await one.zfs.release("hc:n2", `${dataset}@s`);
      await one.zfs.release("hc:n3", `${dataset}@s`);
      await one.zfs.release("hc:n3", `${dataset}@gone`);
      await one.zfs.destroy(`${dataset}@s`);
      expect(await one.zfs.snapshots(dataset)).toEqual([]);
    });

    test("clones share content; what a clone needs cannot be destroyed; rename and destroy right after an unmount", async () => {
      const dataset = await make1("origin");
      await one.write(dataset, "f", "from the template");
      await one.zfs.unmount(dataset);
      await one.zfs.snapshot([`${dataset}@v1`]);
      const clone = `${one.root}/clone`;
      await one.zfs.clone(`${dataset}@v1`, clone, { canmount: "noauto", "hybridcluster:unit": "clone" });
      await one.zfs.mount(clone);
      expect(await one.read(clone, "f")).toBe("from the template");
      expect((await one.zfs.datasets(clone))[0]).toMatchObject({ origin: `${dataset}@v1`, user: { unit: "clone" } });
      expect(zfsFailure(await failing(one.zfs.destroy(`${dataset}@v1`)))).toBe("has-clones");
      expect(zfsFailure(await failing(one.zfs.destroy(dataset)))).toBe("has-children");
      await one.zfs.unmount(clone);
      await one.zfs.rename(clone, `${one.root}/renamed`);
      await one.zfs.destroy(`${one.root}/renamed`);
      await one.zfs.destroy(`${dataset}@v1`);
      await one.zfs.destroy(dataset);
    });

    test("rolls back to the newest snapshot; promotes a clone", async () => {
      const dataset = await make1("rollback");
      await one.write(dataset, "f", "old");
      await one.zfs.snapshot([`${dataset}@s`]);
      await one.write(dataset, "f", "newer");
      await one.zfs.unmount(dataset);
      await one.zfs.rollback(`${dataset}@s`);
      await one.zfs.mount(dataset);
      expect(await one.read(dataset, "f")).toBe("old");
      await one.zfs.clone(`${dataset}@s`, `${one.root}/promoted`, { canmount: "noauto" });
      await one.zfs.promote(`${one.root}/promoted`);
      expect((await one.zfs.snapshots(`${one.root}/promoted`)).map((item) => item.name)).toEqual(["s"]);
      expect((await one.zfs.datasets(dataset))[0]?.origin).toBe(`${one.root}/promoted@s`);
    });

    test("streams: full, incremental, of a clone; guids are equal; the replica is read-only and unmounted", async () => {
      const template = await make1("tmpl-x");
      await one.write(template, "base", "template");
      await one.zfs.unmount(template);
      await one.zfs.snapshot([`${template}@v1`]);
      const site = `${one.root}/site-x`;
      await one.zfs.clone(`${template}@v1`, site, { canmount: "noauto" });
      await one.zfs.mount(site);
      await one.write(site, "page", "one");
      await one.zfs.snapshot([`${site}@s1`]);
      await one.write(site, "page", "two");
      await one.zfs.snapshot([`${site}@s2`]);

      const remoteSite = `${two.root}/site-x`;
      expect(zfsFailure(await failing(carry(`${site}@s1`, `${template}@v1`, remoteSite)))).toBe("missing");
      await carry(`${template}@v1`, undefined, `${two.root}/tmpl-x`, { readonly: "on", canmount: "noauto" });
      await carry(`${site}@s1`, `${template}@v1`, remoteSite, { readonly: "on", canmount: "noauto", "hybridcluster:epoch": "1" });
      expect((await two.zfs.datasets(remoteSite))[0]).toMatchObject({ origin: `${two.root}/tmpl-x@v1`, readonly: true, mounted: false, user: { epoch: "1" } });
      await carry(`${site}@s2`, `${site}@s1`, remoteSite, { "hybridcluster:epoch": "2" });
      expect((await two.zfs.snapshots(remoteSite)).map((item) => item.guid)).toEqual((await one.zfs.snapshots(site)).map((item) => item.guid));
      expect((await two.zfs.datasets(remoteSite))[0]).toMatchObject({ mounted: false, user: { epoch: "2" } });

      // received before: the lab's zfs and the fake refuse it; OpenZFS takes in the whole stream, and then ignores it or refuses it
      await carry(`${site}@s2`, `${site}@s1`, remoteSite).catch((error: unknown) => expect([errorCode(error), zfsFailure(error)]).toEqual(["NO_COMMON_SNAPSHOT", "mismatch"]));
      expect((await two.zfs.snapshots(remoteSite)).map((item) => item.name)).toEqual(["s1", "s2"]);
      await one.zfs.snapshot([`${site}@x1`]);
      await one.zfs.snapshot([`${site}@x2`]);
      const mismatch = await failing(carry(`${site}@x2`, `${site}@x1`, remoteSite));
      expect([errorCode(mismatch), zfsFailure(mismatch)]).toEqual(["NO_COMMON_SNAPSHOT", "mismatch"]);
      for (const name of ["x1", "x2"]) await one.zfs.destroy(`${site}@${name}`);
      const exists = await failing(carry(`${site}@s2`, undefined, remoteSite));
      expect([errorCode(exists), zfsFailure(exists)]).toEqual(["ALREADY_EXISTS", "exists"]);

      await two.zfs.set(remoteSite, { readonly: "off" });
      await two.zfs.mount(remoteSite);
      expect([await two.read(remoteSite, "base"), await two.read(remoteSite, "page")]).toEqual(["template", "two"]);
      await two.write(remoteSite, "stray", "written on the replica");
      await two.zfs.unmount(remoteSite);
      await one.write(site, "page", "three");
      await one.zfs.snapshot([`${site}@s3`]);
      const modified = await failing(carry(`${site}@s3`, `${site}@s2`, remoteSite));
      expect([errorCode(modified), zfsFailure(modified)]).toEqual(["DIVERGED", "modified"]);
      await two.zfs.rollback(`${remoteSite}@s2`);
      await carry(`${site}@s3`, `${site}@s2`, remoteSite);
    });

    test("a cut, altered or cancelled stream leaves nothing behind and can be sent again", async () => {
      const dataset = await make1("cut");
      await one.write(dataset, "f", "x".repeat(300_000));
      await one.zfs.snapshot([`${dataset}@s1`]);
      const bytes = await collect(one.zfs.send(`${dataset}@s1`, undefined, never));
      const target = `${two.root}/cut`;
      const broken = [bytes.subarray(0, 100), bytes.subarray(0, bytes.length - 40), flip(bytes, bytes.length >> 1)];
      for (const part of broken) {
        const error = await failing(two.zfs.receive(target, Readable.from([part], { objectMode: false }), {}, never));
        expect(errorCode(error)).toBe("COMMAND_FAILED");
        expect((error as { retry: string }).retry).toBe("transient");
        expect(zfsFailure(await failing(two.zfs.snapshots(target)))).toBe("missing");
      }
      const abort = new AbortController();
      const slow = new PassThrough();
      const receiving = failing(two.zfs.receive(target, slow, {}, abort.signal));
      slow.write(bytes.subarray(0, 200));
      abort.abort();
      expect(errorCode(await receiving)).toBe("ABORTED");
      const erring = new PassThrough();
      const failed = failing(two.zfs.receive(target, erring, {}, never));
      erring.write(bytes.subarray(0, 200));
      erring.destroy(new Error("the sender went away"));
      await failed;
      await two.zfs.receive(target, Readable.from([bytes], { objectMode: false }), {}, never);
      expect((await newest(two, target))?.guid).toBe((await newest(one, dataset))?.guid);
    });

    test("a send that fails ends its stream with an error, never with an end", async () => {
      const { stream, done } = one.zfs.send(`${one.root}/none@s`, undefined, never);
      await expect(done).rejects.toMatchObject({ code: "NOT_FOUND" });
      await expect(
        (async () => {
          for await (const _chunk of stream);
        })(),
      ).rejects.toBeDefined();
    });

    test("a send that nobody reads can be cancelled", async () => {
      const dataset = await make1("cancel");
      await one.write(dataset, "f", "y".repeat(2_000_000));
      await one.zfs.snapshot([`${dataset}@s1`]);
      const abort = new AbortController();
      const { stream, done } = one.zfs.send(`${dataset}@s1`, undefined, abort.signal);
      const ended = new Promise((resolve) => stream.once("close", resolve));
      stream.once("error", () => undefined);
      stream.once("data", () => abort.abort());
      await done.catch(() => undefined);
      await ended;
      await one.zfs.destroy(`${dataset}@s1`);
    });
  });
}

async function collect(sent: { stream: Readable; done: Promise<void> }): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of sent.stream) chunks.push(Buffer.from(chunk as Uint8Array));
  await sent.done;
  return Buffer.concat(chunks);
}
function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0xff;
  return copy;
}
