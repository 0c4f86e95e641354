import { createHash } from "node:crypto";
import { HcError } from "../lib/errors.js";
import { type FakeDataset, type FakeSnapshot, type Files, failed } from "./fake-dataset.js";
import { fakeTransfers } from "./fake-transfers.js";
import type { Dataset, Snapshot, Zfs } from "./zfs.js";

/** Test access to the contents of a FakeZfs. */
export interface FakeZfs extends Zfs {
  /** Writes a file of a mounted dataset, as a tenant would. */
  write(dataset: string, file: string, text: string): void;
  /** Files of a dataset or snapshot. */
  files(name: string): ReadonlyMap<string, string>;
  /** SHA-256 of the files of a dataset or snapshot. */
  digest(name: string): string;
  /** Called before each operation; may throw to inject a fault. */
  onOperation: ((operation: string, name: string) => void) | undefined;
}

const size = (files: Files): number => [...files].reduce((sum, [name, text]) => sum + name.length + text.length, 0);

/** An in-memory ZFS for unit tests and simulations; passes test/contract/zfs like the real one. `seed` makes its guids differ from other nodes'. `resumable`: it can receive in parts, and tell who holds a snapshot, as OpenZFS can and the lab's zfs cannot. */
export function createFakeZfs(options: { pool?: string; seed: string; resumable?: boolean; nowMs?: () => number }): FakeZfs {
  const datasets = new Map<string, FakeDataset>();
  let txg = 1;
  const guid = (): string => createHash("sha256").update(`${options.seed}/${txg++}`).digest().readBigUInt64BE().toString();
  const now = (): number => Math.floor((options.nowMs ?? Date.now)() / 1000) * 1000;
  const make = (properties: Record<string, string>, files: Files, origin: string): FakeDataset => ({ guid: guid(), origin, mounted: false, properties: new Map(Object.entries(properties)), files: new Map(files), dirty: false, snapshots: [] });
  datasets.set(options.pool ?? "hpool", make({}, new Map(), ""));

  function get(name: string): FakeDataset {
    const dataset = datasets.get(name);
    if (dataset === undefined) throw failed("NOT_FOUND", "missing", `cannot open '${name}': dataset does not exist`);
    return dataset;
  }
  function getSnapshot(name: string): { dataset: FakeDataset; snapshot: FakeSnapshot } {
    const [of = "", short = ""] = name.split("@");
    const dataset = datasets.get(of);
    const snapshot = dataset?.snapshots.find((item) => item.name === short);
    if (dataset === undefined || snapshot === undefined) throw failed("NOT_FOUND", "missing", `cannot open '${name}': dataset does not exist`);
    return { dataset, snapshot };
  }
  function vacant(name: string): void {
    if (datasets.has(name)) throw failed("ALREADY_EXISTS", "exists", `cannot create '${name}': dataset already exists`);
    if (!datasets.has(name.slice(0, Math.max(0, name.lastIndexOf("/"))))) throw failed("NOT_FOUND", "missing", `cannot create '${name}': parent does not exist`);
  }
  const below = (root: string): [string, FakeDataset][] => [...datasets].filter(([name]) => name === root || name.startsWith(`${root}/`)).sort(([a], [b]) => (a < b ? -1 : 1));
  const clonesOf = (name: string): string[] => [...datasets].filter(([, dataset]) => dataset.origin === name).map(([clone]) => clone);
  function operation(what: string, name: string): void {
    fake.onOperation?.(what, name);
  }
  const describe = ([name, dataset]: [string, FakeDataset]): Dataset => ({
    name,
    guid: dataset.guid,
    origin: dataset.origin,
    mounted: dataset.mounted,
    mountpoint: dataset.properties.get("mountpoint") ?? `/${name}`,
    readonly: dataset.properties.get("readonly") === "on",
    usedBytes: String(size(dataset.files)),
    referencedBytes: String(size(dataset.files)),
    availableBytes: "1000000000",
    quotaBytes: dataset.properties.get("quota") ?? "0",
    user: Object.fromEntries([...dataset.properties].filter(([key]) => key.startsWith("hybridcluster:")).map(([key, value]) => [key.slice(14), value])),
  });
  const listed = (dataset: FakeDataset): Snapshot[] => dataset.snapshots.map((item) => ({ name: item.name, guid: item.guid, createtxg: String(item.createtxg), atMs: item.atMs, userrefs: item.tags.size }));
  const written = (dataset: FakeDataset): string => (dataset.dirty || dataset.snapshots.length === 0 ? String(Math.max(1, size(dataset.files))) : "0");
  const fake: FakeZfs = {
    onOperation: undefined,
    async datasets(root) {
      operation("datasets", root);
      get(root);
      return below(root).map(describe);
    },
    async dataset(name) {
      operation("dataset", name);
      const dataset = datasets.get(name);
      return dataset === undefined ? undefined : describe([name, dataset]);
    },
    async look(name) {
      operation("look", name);
      const dataset = datasets.get(name);
      return dataset === undefined ? undefined : { dataset: describe([name, dataset]), snapshots: listed(dataset) };
    },
    async lookAt(name, snapshots) {
      operation("lookAt", name);
      const dataset = get(name);
      for (const snapshot of snapshots) getSnapshot(`${name}@${snapshot}`);
      return { dataset: describe([name, dataset]), snapshots: listed(dataset).filter((item) => snapshots.includes(item.name)) };
    },
    async snapshots(name) {
      operation("snapshots", name);
      return listed(get(name));
    },
    async allSnapshots(root) {
      operation("allSnapshots", root);
      get(root);
      return new Map(below(root).flatMap(([name, dataset]) => (dataset.snapshots.length === 0 || name.slice(root.length + 1).includes("/") ? [] : [[name, listed(dataset)] as const])));
    },
    async written(root) {
      operation("written", root);
      get(root);
      return new Map(below(root).map(([name, dataset]) => [name, dataset.mounted ? written(dataset) : "0"]));
    },
    async create(name, properties) {
      operation("create", name);
      vacant(name);
      datasets.set(name, make(properties, new Map(), ""));
    },
    async clone(name, target, properties) {
      operation("clone", target);
      const { snapshot } = getSnapshot(name);
      vacant(target);
      datasets.set(target, make(properties, snapshot.files, name));
    },
    async snapshot(names) {
      for (const name of names) {
        operation("snapshot", name);
        const [of = "", short = ""] = name.split("@");
        const dataset = get(of);
        if (dataset.snapshots.some((item) => item.name === short)) throw failed("ALREADY_EXISTS", "exists", `cannot create snapshot '${name}': dataset already exists`);
        dataset.snapshots.push({ name: short, guid: guid(), createtxg: txg, atMs: now(), files: new Map(dataset.files), tags: new Set() });
        dataset.dirty = false;
      }
    },
    async set(name, properties) {
      operation("set", name);
      for (const [key, value] of Object.entries(properties)) get(name).properties.set(key, value);
    },
    async inherit(name, property) {
      operation("inherit", name);
      get(name).properties.delete(property);
    },
    async rename(from, to) {
      operation("rename", from);
      get(from);
      vacant(to);
      for (const [name, item] of below(from)) {
        datasets.delete(name);
        datasets.set(to + name.slice(from.length), item);
      }
      for (const item of datasets.values()) if (item.origin.startsWith(`${from}@`)) item.origin = to + item.origin.slice(from.length);
    },
    async destroy(name) {
      operation("destroy", name);
      if (!name.includes("@")) {
        const dataset = get(name);
        if (dataset.snapshots.length > 0 || below(name).length > 1) throw failed("CONFLICT", "has-children", `cannot destroy '${name}': filesystem has children`);
        datasets.delete(name);
        return;
      }
      const { dataset, snapshot } = getSnapshot(name);
      if (clonesOf(name).length > 0 || dataset.partial?.fromGuid === snapshot.guid) throw failed("CONFLICT", "has-clones", `cannot destroy '${name}': snapshot has dependent clones`);
      if (snapshot.tags.size > 0) throw failed("NOT_READY", "busy", `cannot destroy '${name}': dataset is busy`);
      dataset.snapshots.splice(dataset.snapshots.indexOf(snapshot), 1);
    },
    async mount(name) {
      operation("mount", name);
      get(name).mounted = true;
    },
    async unmount(name) {
      operation("unmount", name);
      get(name).mounted = false;
    },
    async mounted() {
      return new Map(below(options.pool ?? "hpool").map(describe).filter((dataset) => dataset.mounted).map((dataset) => [dataset.name, dataset.mountpoint]));
    },
    async hold(tag, name) {
      operation("hold", name);
      getSnapshot(name).snapshot.tags.add(tag);
    },
    async release(tag, name) {
      operation("release", name);
      const [of = "", short = ""] = name.split("@");
      datasets.get(of)?.snapshots.find((item) => item.name === short)?.tags.delete(tag);
    },
    async holds(names) {
      if (options.resumable !== true) return undefined;
      return new Map(names.map((name): [string, string[]] => [name, [...getSnapshot(name).snapshot.tags]]).filter(([, tags]) => tags.length > 0));
    },
    ...fakeTransfers({ datasets, get, getSnapshot, vacant, make, operation, nextTxg: () => (txg += 1) }, options.resumable === true),
    async promote(name) {
      operation("promote", name);
      const dataset = get(name);
      if (dataset.origin === "") throw new HcError("COMMAND_FAILED", `cannot promote '${name}': not a cloned filesystem`);
      const { dataset: parent, snapshot } = getSnapshot(dataset.origin);
      const moved = parent.snapshots.splice(0, parent.snapshots.indexOf(snapshot) + 1);
      dataset.snapshots.unshift(...moved);
      const grand = parent.origin;
      parent.origin = `${name}@${snapshot.name}`;
      dataset.origin = grand;
    },
    async rollback(name) {
      operation("rollback", name);
      const { dataset, snapshot } = getSnapshot(name);
      if (dataset.snapshots.at(-1) !== snapshot) throw new HcError("COMMAND_FAILED", `cannot rollback to '${name}': more recent snapshots exist`);
      dataset.files = new Map(snapshot.files);
      dataset.dirty = false;
    },
    write(name, file, text) {
      const dataset = get(name);
      if (!dataset.mounted || dataset.properties.get("readonly") === "on") throw new Error(`${name} is not mounted writable`);
      dataset.files.set(file, text);
      dataset.dirty = true;
    },
    files: (name) => (name.includes("@") ? getSnapshot(name).snapshot.files : get(name).files),
    digest(name) {
      const sorted = [...fake.files(name)].sort(([a], [b]) => (a < b ? -1 : 1));
      return createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
    },
  };
  return fake;
}
