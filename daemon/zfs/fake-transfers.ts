import { Readable } from "node:stream";
import { HcError } from "../lib/errors.js";
import { type FakeDataset, type FakeSnapshot, type Files, failed } from "./fake-dataset.js";
import { decodeFakeStream, decodeToken, encodeFakeStream, encodeRest, encodeToken, partialOf, readRest } from "./fake-stream.js";
import type { Zfs } from "./zfs.js";

/** What streams need of the fake. */
export interface FakeWorld {
  datasets: Map<string, FakeDataset>;
  get(name: string): FakeDataset;
  getSnapshot(name: string): { dataset: FakeDataset; snapshot: FakeSnapshot };
  vacant(name: string): void;
  make(properties: Record<string, string>, files: Files, origin: string): FakeDataset;
  operation(what: string, name: string): void;
  nextTxg(): number;
}

function difference(from: Files, to: Files): { put: Record<string, string>; removed: string[] } {
  return { put: Object.fromEntries([...to].filter(([name, text]) => from.get(name) !== text)), removed: [...from.keys()].filter((name) => !to.has(name)) };
}

/** Sending and receiving of the fake ZFS. */
export function fakeTransfers(world: FakeWorld, resumable: boolean): Pick<Zfs, "send" | "resume" | "receive" | "resumable" | "partials" | "readToken" | "abortReceive"> {
  const { datasets, get, getSnapshot } = world;

  function encode(name: string, base: string | undefined): Buffer {
    const { snapshot, dataset } = getSnapshot(name);
    const common = { guid: snapshot.guid, snapshot: snapshot.name, atMs: snapshot.atMs };
    if (base === undefined) return encodeFakeStream({ ...common, fromGuid: "", clone: false, put: Object.fromEntries(snapshot.files), removed: [] });
    const from = getSnapshot(base);
    if (from.dataset !== dataset && dataset.origin !== base) throw new HcError("COMMAND_FAILED", "incremental source must be in same filesystem");
    if (from.dataset === dataset && from.snapshot.createtxg >= snapshot.createtxg) throw new HcError("COMMAND_FAILED", `cannot send '${name}': not an earlier snapshot from the same fs`);
    return encodeFakeStream({ ...common, fromGuid: from.snapshot.guid, clone: from.dataset !== dataset, ...difference(from.snapshot.files, snapshot.files) });
  }
  /** The snapshot of a token, and its source, as full names. */
  function ofToken(token: string): { name: string; base: string | undefined; offset: number; guid: string } {
    const { guid, snapshot, fromGuid, offset } = decodeToken(token);
    const full = (wanted: string): string | undefined => [...datasets].flatMap(([of, item]) => item.snapshots.filter((one) => one.guid === wanted).map((one) => `${of}@${one.name}`))[0];
    const name = full(guid);
    const base = fromGuid === "" ? undefined : full(fromGuid);
    if (name === undefined || (fromGuid !== "" && base === undefined)) throw failed("NOT_FOUND", "missing", `cannot resume send: '${snapshot}' used in the initial send no longer exists`);
    return { name, base, offset, guid };
  }
  function sending(make: () => Buffer, signal: AbortSignal): ReturnType<Zfs["send"]> {
    const bytes = (async () => {
      if (signal.aborted) throw new HcError("ABORTED", "send: cancelled before it began.");
      return make();
    })();
    const stream = Readable.from(
      (async function* () {
        const all = await bytes;
        for (let at = 0; at < all.length; at += 64) yield all.subarray(at, at + 64);
      })(),
      { objectMode: false },
    );
    stream.on("error", () => undefined);
    const onAbort = (): void => void stream.destroy(new HcError("ABORTED", "send: cancelled."));
    signal.addEventListener("abort", onAbort, { once: true });
    return { stream, done: bytes.then(() => undefined) };
  }
  /** `receive -s`: what a cut stream has brought stays, if its beginning is there. */
  function keep(name: string, bytes: Buffer, properties: Record<string, string>): void {
    const partial = partialOf(bytes);
    const existing = datasets.get(name);
    if (partial === undefined || (existing !== undefined && existing.snapshots.at(-1)?.guid !== partial.fromGuid)) return;
    if (existing === undefined) world.vacant(name);
    const dataset = existing ?? world.make({}, new Map(), "");
    datasets.set(name, dataset);
    for (const [key, value] of Object.entries(properties)) dataset.properties.set(key, value);
    dataset.partial = { ...partial, fresh: existing === undefined || dataset.partial?.fresh === true };
  }
  function arrive(name: string, bytes: Buffer, properties: Record<string, string>): void {
    const incoming = decodeFakeStream(bytes);
    const existing = datasets.get(name);
    if (existing === undefined) {
      let origin = "";
      let files: Files = new Map();
      if (incoming.fromGuid !== "") {
        if (!incoming.clone) throw failed("NOT_FOUND", "missing", `cannot receive incremental stream: destination '${name}' does not exist`);
        const found = [...datasets].flatMap(([of, item]) => item.snapshots.map((snapshot) => ({ of, snapshot }))).find(({ snapshot }) => snapshot.guid === incoming.fromGuid);
        if (found === undefined) throw failed("NOT_FOUND", "missing", `cannot receive: local origin for clone ${name} does not exist`);
        origin = `${found.of}@${found.snapshot.name}`;
        files = found.snapshot.files;
      }
      world.vacant(name);
      datasets.set(name, world.make({}, files, origin));
    } else {
      if (incoming.fromGuid === "" || incoming.clone) throw failed("ALREADY_EXISTS", "exists", `cannot receive new filesystem stream: destination '${name}' exists`);
      if (existing.snapshots.at(-1)?.guid !== incoming.fromGuid) throw failed("NO_COMMON_SNAPSHOT", "mismatch", `cannot receive incremental stream: most recent snapshot of ${name} does not match incremental source`);
      if (existing.dirty) throw failed("DIVERGED", "modified", `cannot receive incremental stream: destination ${name} has been modified since most recent snapshot`);
    }
    const dataset = get(name);
    for (const file of incoming.removed) dataset.files.delete(file);
    for (const [file, text] of Object.entries(incoming.put)) dataset.files.set(file, text);
    for (const [key, value] of Object.entries(properties)) dataset.properties.set(key, value);
    dataset.snapshots.push({ name: incoming.snapshot, guid: incoming.guid, createtxg: world.nextTxg(), atMs: incoming.atMs, files: new Map(dataset.files), tags: new Set() });
  }

  return {
    resumable: async () => resumable,
    send: (name, base, signal) => sending(() => {
      world.operation("send", name);
      return encode(name, base);
    }, signal),
    resume: (token, signal) => sending(() => {
      const { name, base, offset, guid } = ofToken(token);
      world.operation("resume", name);
      return encodeRest(encode(name, base), guid, offset);
    }, signal),
    async readToken(token) {
      const { name, guid } = ofToken(token);
      return { snapshot: name, guid };
    },
    async partials(root) {
      world.operation("partials", root);
      get(root);
      return new Map([...datasets].filter(([name]) => name === root || name.startsWith(`${root}/`)).flatMap(([name, { partial }]) => (partial === undefined ? [] : [[name, encodeToken(partial)] as const])));
    },
    async abortReceive(name) {
      world.operation("abortReceive", name);
      const dataset = datasets.get(name);
      if (dataset?.partial?.fresh === true) datasets.delete(name);
      else if (dataset !== undefined) delete dataset.partial;
    },
    async receive(name, stream, properties, signal, how = {}) {
      world.operation("receive", name);
      const chunks: Buffer[] = [];
      const onAbort = (): void => void stream.destroy(new HcError("ABORTED", "receive: cancelled."));
      signal.addEventListener("abort", onAbort, { once: true });
      const partial = datasets.get(name)?.partial;
      const got = (): Buffer => {
        const bytes = Buffer.concat(chunks);
        const rest = readRest(bytes);
        if (rest === undefined && partial !== undefined) throw failed("CONFLICT", "partial", `cannot receive: destination ${name} contains partially-complete state from "zfs receive -s".`);
        if (rest === undefined) return bytes;
        if (partial === undefined || partial.guid !== rest.guid || partial.bytes.length !== rest.offset) throw new HcError("COMMAND_FAILED", "cannot receive resume stream: kernel modules must be upgraded to receive this stream, or it is for another state");
        return Buffer.concat([partial.bytes, rest.rest]);
      };
      try {
        for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array));
      } catch (error) {
        if (how.resumable === true && chunks.length > 0) keep(name, got(), properties);
        throw error;
      } finally {
        signal.removeEventListener("abort", onAbort);
      }
      if (signal.aborted) throw new HcError("ABORTED", "receive: cancelled.");
      const bytes = got();
      const dataset = datasets.get(name);
      if (partial?.fresh === true) datasets.delete(name); // as if it began anew, now with all bytes
      try {
        arrive(name, bytes, { ...Object.fromEntries(partial?.fresh === true ? (dataset?.properties ?? []) : []), ...properties });
        delete datasets.get(name)?.partial;
      } catch (error) {
        if (partial?.fresh === true && dataset !== undefined) datasets.set(name, dataset);
        if (how.resumable === true && bytes.length > 0) keep(name, bytes, properties);
        throw error;
      }
    },
  };
}
