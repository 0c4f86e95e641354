import { randomUUID } from "node:crypto";
import type { Store, WatchEvent } from "../../daemon/state/store.js";

export interface StoreSubject { store: Store; compact(): Promise<void> }

/** What every Store must do; run on MemoryStore and on a real etcd. */
export function storeContract(name: string, subject: () => StoreSubject): void {
  describe(`store contract: ${name}`, () => {
    let prefix: string;
    let ending: AbortController;
    const store = (): Store => subject().store;
    const put = async (key: string, value: string): Promise<string> => (await store().txn([], [{ put: prefix + key, value }])).revision;
    beforeEach(() => {
      prefix = `/t/${randomUUID()}/`;
      ending = new AbortController();
    });
    afterEach(() => ending.abort());

    /** Collects events until there are `count`, or onReset was called. */
    function collect(after: string, under = prefix): { events: WatchEvent[]; batches: number; until(count: number): Promise<WatchEvent[]>; reset: Promise<void> } {
      const events: WatchEvent[] = [];
      const waiting: { count: number; resolve(seen: WatchEvent[]): void }[] = [];
      let onReset = (): void => undefined;
      const reset = new Promise<void>((resolve) => (onReset = resolve));
      const seen = { events, batches: 0, reset, until: (count: number) => new Promise<WatchEvent[]>((resolve) => { waiting.push({ count, resolve }); check(); }) };
      const check = (): void => { for (const one of waiting) if (events.length >= one.count) one.resolve([...events]); };
      store().watch(under, after, { onEvents: (some) => { events.push(...some); seen.batches += 1; check(); }, onReset }, ending.signal);
      return seen;
    }

    test("reads what was put, with the revision of the change", async () => {
      expect(await store().get(`${prefix}a`)).toBeUndefined();
      const revision = await put("a", 'text "ü" \n');
      expect(await store().get(`${prefix}a`)).toEqual({ key: `${prefix}a`, value: 'text "ü" \n', modRevision: revision });
    });

    test("lists a prefix in byte order, and nothing beside it", async () => {
      await put("b/2", "two");
      await put("b/1", "one");
      await put("c", "other");
      await put("b", "no part of b/");
      const { items, revision } = await store().list(`${prefix}b/`);
      expect(items.map((item) => item.value)).toEqual(["one", "two"]);
      expect(BigInt(revision)).toBeGreaterThanOrEqual(BigInt(items[0]?.modRevision ?? "0"));
    });

    test("modRevision 0 means: must not exist", async () => {
      const compare = [{ key: `${prefix}n`, modRevision: "0" }];
      expect((await store().txn(compare, [{ put: `${prefix}n`, value: "1" }])).succeeded).toBe(true);
      expect((await store().txn(compare, [{ put: `${prefix}n`, value: "2" }])).succeeded).toBe(false);
      expect((await store().get(`${prefix}n`))?.value).toBe("1");
    });

    test("a transaction happens wholly or not at all", async () => {
      const revision = await put("x", "1");
      const wrong = await store().txn([{ key: `${prefix}x`, modRevision: revision }, { key: `${prefix}y`, modRevision: "5" }], [{ put: `${prefix}x`, value: "2" }, { put: `${prefix}q`, value: "2" }]);
      expect(await store().get(`${prefix}q`)).toBeUndefined();
      expect(wrong.succeeded).toBe(false);
      expect((await store().get(`${prefix}x`))?.value).toBe("1");
      const right = await store().txn([{ key: `${prefix}x`, modRevision: revision }], [{ put: `${prefix}z`, value: "3" }, { delete: `${prefix}x` }]);
      expect(right.succeeded).toBe(true);
      expect((await store().list(prefix)).items.map((item) => [item.key.slice(prefix.length), item.modRevision])).toEqual([["z", right.revision]]);
    });

    test("of many that swap on the same revision exactly one succeeds", async () => {
      const revision = await put("race", "0");
      const results = await Promise.all(Array.from({ length: 10 }, (_, number) => store().txn([{ key: `${prefix}race`, modRevision: revision }], [{ put: `${prefix}race`, value: String(number) }])));
      expect(results.filter((result) => result.succeeded)).toHaveLength(1);
    });

    test("deletePrefix takes all below, and only that", async () => {
      for (const key of ["d/1", "d/2", "e"]) await put(key, key);
      await store().txn([], [{ deletePrefix: `${prefix}d/` }]);
      expect((await store().list(prefix)).items.map((item) => item.value)).toEqual(["e"]);
    });

    test("a watch tells every change after the revision, in order, and none before", async () => {
      await put("w", "before");
      const from = (await store().list(prefix)).revision;
      const seen = collect(from);
      for (let number = 0; number < 20; number += 1) await put("w", String(number));
      await store().txn([], [{ delete: `${prefix}w` }]);
      const events = await seen.until(21);
      expect(events.slice(0, 20).map((event) => event.value)).toEqual(Array.from({ length: 20 }, (_, number) => String(number)));
      expect(events[20]).toMatchObject({ type: "delete", key: `${prefix}w` });
      expect(events.map((event) => BigInt(event.modRevision))).toEqual([...events.map((event) => BigInt(event.modRevision))].sort((a, b) => (a < b ? -1 : 1)));
    });

    test("changes of one transaction arrive together", async () => {
      const from = (await store().list(prefix)).revision;
      const seen = collect(from);
      await store().txn([], [{ put: `${prefix}1`, value: "a" }, { put: `${prefix}2`, value: "b" }]);
      await seen.until(2);
      expect(seen.batches).toBe(1);
    });

    test("a watch from a revision that was compacted away is reset", async () => {
      const old = await put("k", "1");
      await put("k", "2");
      await put("k", "3");
      await subject().compact();
      const seen = collect((BigInt(old) - 1n).toString());
      await seen.reset;
      expect(seen.events).toEqual([]);
    });
  });
}
