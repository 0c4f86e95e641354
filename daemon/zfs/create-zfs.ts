import { PassThrough, type Readable, Writable } from "node:stream";
import { retry } from "../lib/backoff.js";
import type { CommandRunner } from "../lib/command.js";
import { HcError } from "../lib/errors.js";
import { probeHoldListing, probeResumeTokens } from "./capabilities.js";
import { zfsCommands as commands } from "./commands.js";
import { recognize, type ZfsFailure, zfsError, zfsFailure } from "./errors.js";
import { parseDatasets, parseHolds, parseLooks, parseMounted, parseSnapshots, parseWritten, parseToken, parseTokens } from "./parse.js";
import { Together, TogetherBy } from "../lib/together.js";
import type { Dataset, Sending, Snapshot, Zfs } from "./zfs.js";

/** Longest life of a command that moves no data. */
const shortMs = 60_000;
/** Longest life of one send or receive; idle streams end much earlier by the connection's idle timeout. */
const streamMs = 24 * 3_600_000;
/** Right after an unmount "dataset is busy" passes within some 10 ms (LAB.md); a held snapshot stays busy. */
const busyWithinMs = 2_000;

export interface ZfsOptions {
  /** Deadline for retries of "dataset is busy", ms. */
  busyWithinMs?: number;
}

/** The Zfs interface over the zfs command line of whatever machine `runner` runs on. */
export function createZfs(runner: CommandRunner, options: ZfsOptions = {}): Zfs {
  async function once(argv: readonly string[], signal?: AbortSignal): Promise<string> {
    const result = await runner.run(argv, { timeoutMs: shortMs, maxOutputBytes: 256 * 1024 * 1024, ...(signal === undefined ? {} : { signal }) });
    if (result.code !== 0) throw zfsError(argv, result);
    return result.stdout;
  }
  /** Success for the failures that mean "it is so already". */
  async function allowing(failures: readonly ZfsFailure[], act: Promise<unknown>): Promise<void> {
    await act.catch((error: unknown) => {
      const failure = zfsFailure(error);
      if (failure === undefined || !failures.includes(failure)) throw error;
    });
  }
  const patient = (argv: readonly string[]): Promise<unknown> =>
    retry(argv.slice(0, 4).join(" "), { firstMs: 20, capMs: 20, withinMs: options.busyWithinMs ?? busyWithinMs }, async () => {
      try {
        return await once(argv);
      } catch (error) {
        if (zfsFailure(error) === "busy") throw error;
        throw error instanceof HcError && error.retry === "transient" ? new HcError(error.code, error.message, { context: error.context, cause: error, retry: "never" }) : error;
      }
    }).catch((error: unknown) => {
      // past the deadline the last "busy" is what the caller wants to see
      throw zfsFailure((error as Error).cause) === "busy" ? (error as Error).cause : error;
    });
  /** Found out once; a probe that failed is made again the next time. */
  const probing = (probe: (of: CommandRunner) => Promise<boolean>): (() => Promise<boolean>) => {
    let probed: Promise<boolean> | undefined;
    return () => {
      probed ??= probe(runner).catch((error: unknown) => {
        probed = undefined;
        throw error;
      });
      return probed;
    };
  };
  const [resumable, listsHolds] = [probing(probeResumeTokens), probing(probeHoldListing)];
  const unique = (names: readonly string[]): string[] => [...new Set(names)];
  const alone = new Together<string, Dataset | undefined>(async (names) => {
    const found = new Map(parseDatasets(await once(commands.dataset(unique(names)))).map((dataset) => [dataset.name, dataset]));
    return names.map((name) => found.get(name));
  });
  /** Undefined for what is missing. */
  const ifAny = <T>(act: Promise<T>): Promise<T | undefined> =>
    act.catch((error: unknown) => {
      if (zfsFailure(error) === "missing") return undefined;
      throw error;
    });
  const looks = new Together<string, Awaited<ReturnType<Zfs["look"]>>>(async (names) => {
    const found = parseLooks(await once(commands.look(unique(names))));
    return names.map((name) => found.get(name));
  });
  const named = new Together<{ name: string; snapshots: readonly string[] }, Awaited<ReturnType<Zfs["lookAt"]>>>(async (asked) => {
    const found = parseLooks(await once(commands.lookAt(unique(asked.flatMap(({ name, snapshots }) => [name, ...snapshots.map((snapshot) => `${name}@${snapshot}`)])))));
    return asked.map(({ name, snapshots }) => {
      const seen = found.get(name);
      if (seen === undefined) throw new HcError("INTERNAL", `zfs did not tell of ${name}, and did not say that it is missing.`);
      return { dataset: seen.dataset, snapshots: seen.snapshots.filter((snapshot) => snapshots.includes(snapshot.name)) }; // others of one call may have asked for more
    });
  });
  const lists = new Together<string, Snapshot[]>(async (datasets) => {
    const found = parseSnapshots(await once(commands.snapshots(unique(datasets))));
    return datasets.map((dataset) => found.get(dataset) ?? []);
  });
  /**
   * Holds and releases of one tag; there are a few tags for each other node. zfs goes on with the other snapshots when one refuses (zfs_do_hold_rele_impl): a command that met no refusal but those that mean "it is so already" has done
   * its work.
   */
  const tagged = (command: (tag: string, snapshots: readonly string[]) => string[], success: readonly ZfsFailure[]): ((tag: string, snapshot: string) => Promise<void>) => {
    const calls = new TogetherBy<string, void>(async (tag, snapshots) => {
      const argv = command(tag, unique(snapshots));
      const result = await runner.run(argv, { timeoutMs: shortMs });
      if (result.code === 0) return snapshots.map(() => undefined);
      const refusals = result.stderr.split("\n").filter((line) => line !== "").map((line) => recognize(line)?.failure);
      if (refusals.length === 0 || refusals.some((failure) => failure === undefined || !success.includes(failure))) throw zfsError(argv, result);
      return snapshots.map(() => undefined);
    });
    return (tag, snapshot) => allowing(success, calls.call(tag, snapshot));
  };
  /** By setting: a node that takes over many units sets the same on all of them. */
  const sets = new TogetherBy<string, void>(async (setting, datasets) => {
    await once(commands.set(setting, unique(datasets)));
    return datasets.map(() => undefined);
  });
  return {
    datasets: async (root) => parseDatasets(await once(commands.datasets(root))),
    dataset: (name) => ifAny(alone.call(name)),
    look: (name) => ifAny(looks.call(name)),
    lookAt: (name, snapshots) => named.call({ name, snapshots }),
    snapshots: (dataset) => lists.call(dataset),
    allSnapshots: async (root) => parseSnapshots(await once(commands.allSnapshots(root))),
    written: async (root) => parseWritten(await once(commands.written(root))),
    create: async (dataset, properties) => void (await once(commands.create(dataset, properties))),
    clone: async (snapshot, dataset, properties) => void (await once(commands.clone(snapshot, dataset, properties))),
    async snapshot(names) {
      if (names.length > 0) await once(commands.snapshot(names));
    },
    async set(dataset, properties) {
      for (const [name, value] of Object.entries(properties)) await sets.call(`${name}=${value}`, dataset);
    },
    inherit: async (dataset, property) => void (await once(commands.inherit(dataset, property))),
    rename: async (from, to) => void (await patient(commands.rename(from, to))),
    destroy: async (name) => void (await patient(commands.destroy(name))),
    mount: (dataset) => allowing(["already"], once(commands.mount(dataset))),
    unmount: (dataset, how = {}) => allowing(["already"], patient(how.force === true ? commands.forceUnmount(dataset) : commands.unmount(dataset))),
    mounted: async () => parseMounted(await once(commands.mounted())),
    hold: tagged(commands.hold, ["already"]),
    release: tagged(commands.release, ["no-tag", "missing"]),
    async holds(snapshots) {
      if (!(await listsHolds())) return undefined;
      return snapshots.length === 0 ? new Map() : parseHolds(await once(commands.holds(unique(snapshots))));
    },
    send: (snapshot, base, signal) => sending(runner, commands.send(snapshot, base), signal),
    async receive(dataset, stream, properties, signal, how = {}) {
      const argv = commands.receive(dataset, properties, how);
      const result = await runner.run(argv, { timeoutMs: streamMs, input: stream as Readable, signal });
      if (result.code !== 0) throw zfsError(argv, result);
    },
    resumable,
    partials: async (root) => parseTokens(await once(commands.partials(root))),
    readToken: async (token) => parseToken(await once(commands.readToken(checkedToken(token)))),
    resume: (token, signal) => sending(runner, commands.resume(checkedToken(token)), signal),
    abortReceive: (dataset) => allowing(["no-partial", "missing"], patient(commands.abortReceive(dataset))),
    promote: async (dataset) => void (await patient(commands.promote(dataset))),
    rollback: async (snapshot) => void (await patient(commands.rollback(snapshot))),
  };
}

/** A token comes from another node: nothing but the form of one may reach a command line. */
function checkedToken(token: string): string {
  if (!/^1-[0-9a-f]{1,16}-[0-9a-f]{1,16}-[0-9a-f]{2,8192}$/.test(token)) throw new HcError("INVALID_INPUT", `${JSON.stringify(token.slice(0, 60))} is no resume token.`);
  return token;
}

function sending(runner: CommandRunner, argv: readonly string[], signal: AbortSignal): Sending {
  const stream = new PassThrough();
  const done = runner.run(argv, { timeoutMs: streamMs, output: forward(stream), signal }).then((result) => {
    if (result.code !== 0) throw zfsError(argv, result);
    stream.end();
  });
  done.catch((error: Error) => stream.destroy(error));
  return { stream, done };
}

/**
 * Passes everything on but the end: standard output ends before the exit code is known, and a reader must never take the
 * stream of a failed send for a whole one.
 */
function forward(to: PassThrough): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, callback) {
      if (to.destroyed) return callback(new HcError("ABORTED", "The reader of the stream went away."));
      if (to.write(chunk)) return callback();
      const go = (): void => {
        to.off("drain", go);
        to.off("close", go);
        callback(to.destroyed ? new HcError("ABORTED", "The reader of the stream went away.") : null);
      };
      to.once("drain", go);
      to.once("close", go);
    },
  });
}
