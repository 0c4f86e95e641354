import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import { createFakeZfs } from "../../daemon/zfs/fake-zfs.js";
import type { Zfs } from "../../daemon/zfs/zfs.js";

const site = "hpool/hc/site-a";
const maxAgeMs = 1_000;
const signal = new AbortController().signal;

async function setUp(change: (zfs: Zfs) => Partial<Zfs> = () => ({})) {
  let nowMs = 0;
  const plain = createFakeZfs({ seed: "memory" });
  const asked: string[] = [];
  const look: Zfs["look"] = (name) => {
    asked.push("all");
    return plain.look(name);
  };
  const lookAt: Zfs["lookAt"] = (name, snapshots) => {
    asked.push(snapshots.join(" "));
    return plain.lookAt(name, snapshots);
  };
  const counted = { ...plain, look, lookAt };
  const zfs = noticed({ ...counted, ...change(counted) }, new ZfsChanges(), () => nowMs);
  await zfs.create("hpool/hc", {});
  await zfs.create(site, {});
  const seen = async (): Promise<string[]> => {
    const found = await zfs.look(site, { maxAgeMs });
    return (found?.snapshots ?? []).map(({ name, userrefs }) => `${name}:${userrefs}`);
  };
  return { plain, zfs, seen, asked: () => asked.splice(0), pass: (ms: number) => { nowMs += ms; } };
}

test("only what this process did something to is asked for again, and the dataset itself", async () => {
  const { zfs, seen, asked } = await setUp();
  await zfs.snapshot([`${site}@1`, `${site}@2`]);
  expect([await seen(), asked()]).toEqual([["1:0", "2:0"], ["all"]]);
  await zfs.set(site, { "hybridcluster:epoch": "3" });
  expect((await zfs.look(site, { maxAgeMs }))?.dataset.user).toEqual({ epoch: "3" });
  expect(asked()).toEqual([""]);
  await zfs.snapshot([`${site}@3`]);
  await zfs.hold("hc:n2", `${site}@2`);
  expect([await seen(), asked()]).toEqual([["1:0", "2:1", "3:0"], ["3 2"]]);
  await zfs.release("hc:n2", `${site}@2`);
  await zfs.destroy(`${site}@1`);
  expect([await seen(), asked()]).toEqual([["2:0", "3:0"], ["2"]]);
  await expect(zfs.destroy(`${site}@1`)).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect([await seen(), asked()]).toEqual([["2:0", "3:0"], ["1", "all"]]); // what cannot be asked for is looked for
  // whoever does not say how old it may be sees what is there
  expect((await zfs.look(site))?.snapshots).toHaveLength(2);
  expect(asked()).toEqual(["all"]);
});

test("what others did is seen when it is too old, or at once where it is in the way", async () => {
  const { plain, seen, asked, pass, zfs } = await setUp();
  await zfs.snapshot([`${site}@1`, `${site}@2`]);
  await seen();
  await plain.snapshot([`${site}@3`]);
  await plain.destroy(`${site}@1`);
  expect(await seen()).toEqual(["1:0", "2:0"]);
  pass(maxAgeMs);
  expect(await seen()).toEqual(["2:0", "3:0"]);
  await zfs.snapshot([`${site}@4`]);
  await plain.destroy(`${site}@4`);
  asked();
  expect([await seen(), asked()]).toEqual([["2:0", "3:0"], ["4", "all"]]);
  await plain.destroy(`${site}@2`);
  await plain.destroy(`${site}@3`);
  await plain.destroy(site);
  expect([await seen(), asked()]).toEqual([[], ["", "all"]]);
});

test("a dataset that is made another one is looked at as a whole; a stream brings what it says", async () => {
  const { zfs, plain, seen, asked } = await setUp();
  await zfs.snapshot([`${site}@1`]);
  await seen();
  await zfs.rename(site, "hpool/hc/site-b");
  await zfs.create(site, {});
  expect([await seen(), asked()]).toEqual([[], ["all", "all"]]);
  await zfs.destroy(site);
  await zfs.clone("hpool/hc/site-b@1", site, {});
  await zfs.snapshot([`${site}@2`]);
  asked();
  expect([await seen(), asked()]).toEqual([["2:0"], ["all"]]);
  await zfs.promote(site);
  expect([await seen(), asked()]).toEqual([["1:0", "2:0"], ["all"]]);
  await zfs.rollback(`${site}@2`);
  await zfs.abortReceive("hpool/hc");
  expect([await seen(), asked()]).toEqual([["1:0", "2:0"], ["all"]]);

  const copy = "hpool/hc/copy";
  const carry = async (snapshot: string, base: string | undefined, named: boolean): Promise<void> => {
    const { stream, done } = plain.send(`${site}@${snapshot}`, base === undefined ? undefined : `${site}@${base}`, signal);
    const bytes = await buffer(stream);
    await done;
    await zfs.receive(copy, Readable.from([bytes]), {}, signal, named ? { snapshot } : {});
  };
  await carry("1", undefined, true);
  const received = async (): Promise<[string[], string[]]> => [((await zfs.look(copy, { maxAgeMs }))?.snapshots ?? []).map(({ name }) => name), asked()];
  expect(await received()).toEqual([["1"], ["all"]]);
  await carry("2", "1", true);
  expect(await received()).toEqual([["1", "2"], ["2"]]);
  await zfs.snapshot([`${site}@3`]);
  await carry("3", "2", false);
  expect(await received()).toEqual([["1", "2", "3"], ["all"]]);
});

test("what is done while a look is on its way counts for the next one", async () => {
  let meanwhile: (() => Promise<void>) | undefined;
  const after = <A extends unknown[], R>(act: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
    const result = await act(...args);
    const go = meanwhile;
    meanwhile = undefined;
    await go?.();
    return result;
  };
  const { zfs, seen } = await setUp((of) => ({ look: after(of.look), lookAt: after(of.lookAt) }));
  await zfs.snapshot([`${site}@1`, `${site}@2`]);
  for (const what of ["look at all", "look at some"]) {
    // after zfs has answered, before the answer is taken down
    meanwhile = async () => zfs.hold("hc:n2", `${site}@2`);
    await seen();
    expect([what, await seen()]).toEqual([what, ["1:0", "2:1"]]);
    meanwhile = async () => zfs.destroy(`${site}@1`);
    await seen();
    expect([what, await seen()]).toEqual([what, ["2:1"]]);
    await zfs.release("hc:n2", `${site}@2`);
    meanwhile = async () => {
      await zfs.rename(site, "hpool/hc/away");
      await zfs.rename("hpool/hc/away", site);
      await zfs.destroy(`${site}@2`);
      await zfs.snapshot([`${site}@1`, `${site}@2`]);
    };
    await seen();
    expect([what, await seen()]).toEqual([what, ["1:0", "2:0"]]);
  }
});

test("after any sequence of doings, at once or one by one, it is as zfs has it", async () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    let state = seed;
    const random = (below: number): number => {
      state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((state / 2_147_483_648) * below);
    };
    // zfs does its work some time after it was told to, and its answer takes some time
    const some = async (): Promise<void> => {
      for (let turns = random(random(2) === 0 ? 6 : 60); turns > 0; turns -= 1) await Promise.resolve();
    };
    const { zfs, plain, pass } = await setUp((of) => Object.fromEntries(Object.entries(of as unknown as Record<string, (...args: unknown[]) => unknown>).map(([name, act]) => [name, async (...args: unknown[]) => {
      await some();
      try {
        return await act(...args);
      } finally {
        await some();
      }
    }])));
    let count = 0;
    const any = async (): Promise<string> => {
      const list = await plain.snapshots(site);
      return `${site}@${list[random(list.length)]?.name ?? "none"}`;
    };
    const next = (): Promise<void> => {
      count += 1;
      return zfs.snapshot([`${site}@${count}`]);
    };
    const doings: (() => Promise<unknown>)[] = [
      next, next, async () => zfs.snapshot([await any()]), async () => zfs.destroy(await any()), async () => zfs.hold(`hc:n${random(3)}`, await any()), async () => zfs.release(`hc:n${random(3)}`, await any()),
      async () => zfs.rollback(await any()), async () => pass(random(maxAgeMs)), () => zfs.look(site, { maxAgeMs }), () => zfs.allSnapshots("hpool/hc", { maxAgeMs }), () => zfs.allSnapshots("hpool/hc"), async () => { await zfs.rename(site, "hpool/hc/away"); await zfs.rename("hpool/hc/away", site); },
    ];
    const did: string[] = [];
    for (let step = 0; step < 20; step += 1) {
      // several at once, each a few doings one after the other
      const at = Array.from({ length: 1 + random(4) }, () => Array.from({ length: 1 + random(4) }, () => random(doings.length)));
      did.push(at.map((chain) => chain.join(",")).join(" + "));
      await Promise.all(at.map(async (chain) => {
        for (const number of chain) await (doings[number] as () => Promise<unknown>)().catch(() => undefined);
      }));
      if (random(2) === 0) expect({ seed, did, seen: await zfs.look(site, { maxAgeMs }) }).toEqual({ seed, did, seen: await plain.look(site) });
      else expect({ seed, did, seen: await zfs.allSnapshots("hpool/hc", { maxAgeMs }) }).toEqual({ seed, did, seen: await plain.allSnapshots("hpool/hc") });
    }
  }
});
