import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createCrypter, type Crypter } from "../../../stacks/engine/secrets/passphrase.js";
import { readCheckpoint } from "../../../stacks/engine/state/checkpoint.js";
import { fold, type JournalEntry } from "../../../stacks/engine/state/journal.js";
import { journalFile } from "../../../stacks/engine/state/paths.js";
import { StateStore } from "../../../stacks/engine/state/store.js";
import type { ResourceRecord } from "../../../stacks/engine/types.js";

const record = (name: string): ResourceRecord => ({ urn: `urn:pulumi:s::p::t:t:T::${name}`, custom: true, type: "t:t:T" });
const text = (...entries: JournalEntry[]): string => entries.map((entry) => `${JSON.stringify(entry)}\n`).join("");

test("fold: puts, removals and begun operations over the base; a cut-off line never happened", () => {
  const base = { resources: [record("a"), record("b")], pending: [], digest: "d" };
  const journal = text({ op: "base", digest: "d" }, { op: "put", key: "n1", record: record("c") }, { op: "remove", key: "b0" }, { op: "begin", key: "on2", pending: { type: "creating", resource: record("x") } }, { op: "begin", key: "on3", pending: { type: "creating", resource: record("y") } }, { op: "end", key: "on2" });
  const folded = fold(base, `${journal}{"op":"remove","key":"n1`);
  expect([...folded.records.values()].map((item) => item.urn.split("::").at(-1))).toEqual(["b", "c"]);
  expect([...folded.pending.values()].map((item) => item.resource.urn.split("::").at(-1))).toEqual(["y"]);
});

test("fold: the journal of another state file is left aside", () => {
  const folded = fold({ resources: [record("a")], pending: [], digest: "new" }, text({ op: "base", digest: "old" }, { op: "remove", key: "b0" }));
  expect(folded.records.size).toBe(1);
});

describe("a store that is killed", () => {
  const workspace = mkdtempSync(join(tmpdir(), "engine-journal-"));
  const place = { workspace, project: "p", stack: "s" };
  let crypter: Crypter;
  const open: StateStore[] = [];
  const opened = async (): Promise<StateStore> => {
    const store = await StateStore.open(place, crypter, () => new Date(0));
    open.push(store);
    return store;
  };
  const urns = (store: StateStore): string[] => store.entries().map(([, item]) => `${item.urn.split("::").at(-1)}${item.protect === true ? "!" : ""}`);
  const keyOf = (store: StateStore, name: string): string => store.entries().find(([, item]) => item.urn.endsWith(`::${name}`))?.[0] ?? "";
  beforeAll(async () => {
    crypter = await createCrypter("p");
  });
  afterAll(async () => {
    // the killed ones never closed their journal
    for (const store of open) await (Reflect.get(store, "journal") as { close(): Promise<void> } | undefined)?.close();
    rmSync(workspace, { recursive: true });
  });

  test("is read by the next one, again and again, and the end leaves no journal", async () => {
    const first = await opened();
    await first.startRecording();
    const begun = await first.begin("creating", record("a"));
    // in an order that the file will not have
    await first.put(first.newKey(), { ...record("a"), dependencies: [record("c").urn] });
    await first.end(begun);
    await first.put(first.newKey(), record("b"));
    await first.put(first.newKey(), record("c"));
    await first.begin("creating", record("gone"));
    await first.begin("creating", record("x"));

    const second = await opened();
    expect(urns(second)).toEqual(["a", "b", "c"]);
    await second.settle(record("gone").urn);
    await second.startRecording();
    expect((await readCheckpoint(place))?.pending).toHaveLength(1);
    await second.put(keyOf(second, "c"), { ...record("c"), protect: true });
    await second.remove(keyOf(second, "b"));

    const third = await opened();
    expect(urns(third).sort()).toEqual(["a", "c!"]);
    expect(third.unfinished().map((item) => item.resource.urn)).toEqual([record("x").urn]);
    await third.startRecording();
    await third.settle(record("x").urn);
    await third.finish();

    const last = await opened();
    expect([urns(last), last.unfinished()]).toEqual([["c!", "a"], []]);
    expect(() => readFileSync(journalFile(place))).toThrow(/ENOENT/);
  });
});
