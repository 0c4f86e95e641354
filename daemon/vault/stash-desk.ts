import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { NodeContext } from "../context.js";
import type { DesiredDocument } from "../lib/documents.js";
import { HcError } from "../lib/errors.js";
import { unpackText } from "../lib/packed-text.js";
import { frame } from "../replication/frames.js";
import { Locks } from "../lib/locks.js";
import { isStash, parseStashId, presentName, stashRoot } from "../replication/stash.js";
import { wireVersion } from "../replication/wire.js";
import { zfsFailure } from "../zfs/errors.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";
import { madeMs } from "./choose-snapshot.js";
import type { VaultClones } from "./clones.js";
import { type Differences, diffTrees } from "./compare-trees.js";

interface Named { name: string; guid: string; madeMs: number }
/** What lies in the stash as `id`. */
export interface StashDetail {
  id: string;
  unit: string;
  node: string;
  /** Of the owner that wrote it. */
  epoch: number;
  stashedAtMs: number;
  /** Customer of the unit then, "" = not known. */
  customer: string;
  document: DesiredDocument<"site"> | null;
  /** The newest snapshot that the unit has too; null: nothing is shared. */
  common: Named | null;
  /** Its snapshots after that one, oldest first, the newest 50 of `snapshots`. */
  tail: Named[];
  snapshots: number;
  /** What only this stash holds, and all that can be seen in it, bytes. */
  usedBytes: string;
  referencedBytes: string;
  /** Guid of the snapshot of all that it holds, "" until it was made. */
  present: string;
}
export interface StashDiff extends Differences { id: string; unit: string; node: string; common: Named | null; /** The unit as this node's copy of it knows it; null: there is none here any more. */ present: Named | null }

const shownTail = 50;
const maxDifferences = 5_000;
const defaultDifferences = 200;
/** Longest comparison, ms: the answer is then not complete. */
const diffMs = 45_000;
const maxDiffs = 2;
const maxStreams = 2;

/** What a node does with the histories in its own stash: tells, compares, gives out. It changes nothing of them but by making the snapshot `present`. */
export class StashDesk {
  private readonly locks = new Locks();
  private diffs = 0;
  private streams = 0;
  public constructor(private readonly context: Pick<NodeContext, "host" | "cluster" | "zfs">, private readonly clones: VaultClones) {}

  private async look(id: string): Promise<{ dataset: Dataset; snapshots: readonly Snapshot[] }> {
    const { zfs, cluster, host } = this.context;
    // the name is checked before it becomes part of a dataset's
    const seen = parseStashId(id) === undefined ? undefined : await zfs.look(`${stashRoot(cluster.dataset)}/${id}`);
    if (seen === undefined || !isStash(seen.dataset.user)) throw new HcError("NOT_FOUND", `There is no ${JSON.stringify(id.slice(0, 120))} in the stash of ${host.node}; \`hc stash list\` shows what there is.`);
    if (seen.dataset.user["stash"] !== "kept") throw new HcError("NOT_READY", `${id} is still being taken apart; try again in a moment.`);
    return seen;
  }

  public async detail(id: string): Promise<StashDetail> {
    const { dataset, snapshots } = await this.look(id);
    const told = parseStashId(id) as NonNullable<ReturnType<typeof parseStashId>>;
    const document = documentOf(dataset.user["definition"]);
    const tail = snapshots.filter(({ name }) => name !== presentName);
    return {
      id, unit: dataset.user["unit"] ?? told.unit, node: this.context.host.node, epoch: told.epoch, stashedAtMs: told.atMs,
      customer: document?.spec.customer ?? "", document: document ?? null,
      common: await this.origin(dataset),
      tail: tail.slice(-shownTail).map(named), snapshots: tail.length,
      usedBytes: dataset.usedBytes, referencedBytes: dataset.referencedBytes,
      present: snapshots.find(({ name }) => name === presentName)?.guid ?? "",
    };
  }
  /** The snapshot that the stash is a clone of. One of a template is none that the unit has. */
  private async origin({ origin, user }: Dataset): Promise<Named | null> {
    const [from = "", name = ""] = origin.split("@");
    if (name === "" || parseSnapshotName(name) === undefined || user["unit"] === undefined) return null;
    const found = (await this.context.zfs.snapshots(from)).find((snapshot) => snapshot.name === name);
    return found === undefined ? null : named(found);
  }

  /**
   * The same, after the snapshot of all that it holds was made. What the former home wrote last may lie in an intent log that nobody has replayed: zfs makes no snapshot then ("dataset is busy"), and a mount replays it,
   * also a read-only one (zfsvfs_setup of OpenZFS lifts the flag meanwhile).
   */
  public async withPresent(id: string): Promise<StashDetail> {
    return this.locks.run(id, async () => {
      const { zfs } = this.context;
      const { dataset, snapshots } = await this.look(id);
      if (!snapshots.some(({ name }) => name === presentName)) {
        const full = `${dataset.name}@${presentName}`;
        try {
          await zfs.snapshot([full]);
        } catch (error) {
          if (zfsFailure(error) !== "busy" || dataset.mounted) throw error;
          await zfs.mount(dataset.name);
          try {
            await zfs.snapshot([full]);
          } finally {
            await zfs.unmount(dataset.name);
          }
        }
      }
      return this.detail(id);
    });
  }

  /** What it holds in files, besides what the unit is now as this node's copy knows it. `limit`: differences to be told, 1 to 5,000. Throws LIMIT_EXCEEDED. */
  public async diff(id: string, limit: number, signal: AbortSignal): Promise<StashDiff> {
    if (!Number.isSafeInteger(limit) || limit < 1 || limit > maxDifferences) throw new HcError("INVALID_INPUT", `limit: must be a number from 1 to ${maxDifferences}.`);
    if (this.diffs >= maxDiffs) throw new HcError("LIMIT_EXCEEDED", `${maxDiffs} histories are being compared on ${this.context.host.node} already.`);
    this.diffs += 1;
    const opened: { close(): Promise<void> }[] = [];
    const open = async (unit: string, snapshot: string, from: string): Promise<string> => {
      const made = await this.clones.work(unit, snapshot, from);
      opened.push(made);
      return made.path;
    };
    try {
      const { cluster, zfs } = this.context;
      const { unit, common } = await this.withPresent(id);
      const { dataset } = await this.look(id);
      const copy = await zfs.look(`${cluster.dataset}/${unit}`);
      const newest = copy?.dataset.user["unit"] === unit ? copy.snapshots.at(-1) : undefined;
      const other = await open(unit, presentName, dataset.name);
      const [from = "", snapshot = ""] = dataset.origin.split("@");
      const base = common === null ? undefined : await open(unit, snapshot, from);
      const present = newest === undefined || copy === undefined ? undefined : await open(unit, newest.name, copy.dataset.name);
      const found = await diffTrees({ other, base, present, limit, signal: AbortSignal.any([signal, AbortSignal.timeout(diffMs)]) });
      return { id, unit, node: this.context.host.node, common, present: newest === undefined ? null : named(newest), ...found };
    } finally {
      for (const one of opened) await one.close();
      this.diffs -= 1;
    }
  }

  /** `have`: guid of the common snapshot if the asker holds it: then an increment, else all. */
  public async send(id: string, have: string, response: ServerResponse): Promise<void> {
    if (this.streams >= maxStreams) throw new HcError("LIMIT_EXCEEDED", `${maxStreams} histories are being sent from ${this.context.host.node} already.`);
    this.streams += 1;
    const abort = new AbortController();
    try {
      const { unit, epoch, common, present } = await this.withPresent(id);
      const { dataset } = await this.look(id);
      const base = common !== null && common.guid === have ? dataset.origin : undefined;
      const { stream, done } = this.context.zfs.send(`${dataset.name}@${presentName}`, base, abort.signal);
      done.catch(() => undefined); // its error also ends the stream
      const head = { version: wireVersion, unit, epoch, snapshot: presentName, guid: present, baseGuid: base === undefined ? "" : have, clone: base !== undefined, properties: {}, keep: [] };
      response.writeHead(200, { "content-type": "application/x-hybridcluster-stream" });
      await pipeline(frame(head, stream), response);
    } finally {
      abort.abort();
      this.streams -= 1;
    }
  }
}

export const diffLimit = (text: string | null): number => (text === null || text === "" ? defaultDifferences : Number(text));
const named = (snapshot: Snapshot): Named => ({ name: snapshot.name, guid: snapshot.guid, madeMs: madeMs(snapshot) });

/** The unit's own document as its dataset bears it; undefined when it cannot be read. */
function documentOf(text: string | undefined): DesiredDocument<"site"> | undefined {
  try {
    const value = JSON.parse(unpackText(text ?? "")) as DesiredDocument<"site">;
    return value.kind === "site" && typeof value.spec.customer === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
