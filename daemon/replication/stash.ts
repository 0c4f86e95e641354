import type { NodeContext } from "../context.js";
import { errorCode, HcError } from "../lib/errors.js";
import { userPrefix } from "../zfs/commands.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";

export type StashContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "clock" | "log" | "event">;

/**
 * User property of a dataset in the stash: `pending:<guid of the common snapshot, if any>` until the unit's own dataset stands on that again, then `kept`. It alone says that something is a stash: the node's
 * agent, which works beside this, writes any other property of a copy under the unit's name as the record wants it (found in CI: a stash that was `state=live` again before its rename was never listed).
 */
export const stashProperty = `${userPrefix}stash`;
/** Pure: is a dataset below the stash one, by its user properties? */
export const isStash = (user: Dataset["user"]): boolean => user["stash"] !== undefined;
export const stashRoot = (root: string): string => `${root}/stash`;
/** The snapshot of all that a stash holds, made when somebody looks (../vault/stash-desk.ts). A stash is read-only, so one is enough. */
export const presentName = "present";
/** `<unit>-<epoch>-<node>-<UTC yyyymmddThhmmssZ>` */
export const stashId = (unit: string, epoch: number, node: string, atMs: number): string => `${unit}-${epoch}-${node}-${new Date(atMs).toISOString().replace(/[-:]/g, "").replace(/\.\d+Z$/, "Z")}`;
/** Undefined for what is no name of a stash. */
export function parseStashId(id: string): { unit: string; epoch: number; node: string; atMs: number } | undefined {
  const match = /^(site-[a-z0-9-]+?)-([0-9]{1,15})-([a-z0-9]([a-z0-9-]*[a-z0-9])?)-([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(id);
  if (match === null) return undefined;
  const [, unit, epoch, node, , year, month, day, hour, minute, second] = match;
  return { unit: unit as string, epoch: Number(epoch), node: node as string, atMs: Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) };
}

/**
 * Takes a history that lost out of the way of the one that goes on, with no byte destroyed (OWNERSHIP 12): rename into the stash → clone at the common snapshot → promote. The common
 * past then belongs to the unit again; the stash is a clone of it with the snapshots of the tail, and what was written after the last of them is its present. (That is not made a snapshot: after a power
 * cut it lies in an intent log that nobody has replayed, and zfs makes no snapshot before it is mounted: "dataset is busy".) Without common ground the whole copy goes to the stash.
 * The caller has the unit for itself. Steps can be repeated: a break after the rename is taken up by `finish`, which reads what is to be done from the dataset in the stash. Until that is done the unit seems to have
 * no copy here, which nobody may take for the truth.
 */
export class Stasher {
  /**
   * Units with a stash that is not finished; undefined: not looked for since the start. Only this process makes them, so a node that seals many copies at once need not look for each. One that its predecessor made
   * is missing here when zfs was still renaming at the look after the start: `find` is for that.
   */
  private pending: Set<string> | undefined;
  public constructor(private readonly context: StashContext) {}

  /**
   * `common`: guid of the newest snapshot that stays with the unit; "" = nothing is common. `modified`: zfs refuses increments because of what was written after the newest snapshot (its `written` may be 0
   * all the same). `owner`: epoch of the record: a snapshot of that epoch or a later one is no tail of an owner before. The stash's id, or "" when there was nothing to take away. Throws NOT_READY (mounted), CONFLICT, NOT_FOUND (no such snapshot).
   */
  public async take(unit: string, { common, modified, owner }: { common: string; modified: boolean; owner: number }): Promise<string> {
    const { cluster, zfs, host } = this.context;
    const dataset = `${cluster.dataset}/${unit}`;
    const seen = await this.whole(unit, () => zfs.look(dataset));
    if (seen === undefined) return "";
    if (seen.dataset.mounted) throw new HcError("NOT_READY", `${unit} is still mounted on ${host.node}; its tail is stashed afterwards.`);
    const at = common === "" ? -1 : seen.snapshots.findIndex(({ guid }) => guid === common);
    if (common !== "" && at < 0) throw new HcError("NOT_FOUND", `${host.node} does not hold snapshot ${common} of ${unit}: nothing is stashed.`);
    const tail = seen.snapshots.slice(at + 1);
    const wrong = tail.find(({ name }) => (parseSnapshotName(name)?.epoch ?? 0) >= owner);
    if (wrong !== undefined) throw new HcError("CONFLICT", `${unit} on ${host.node} holds ${wrong.name}, which is of its owner's own epoch (${owner}), and the home does not know it: nothing is touched; a person must look.`, { retry: "never" });
    const dirty = modified || ((await zfs.written(dataset)).get(dataset) ?? "0") !== "0";
    if (tail.length === 0 && !dirty) return "";
    return this.keep(unit, seen, at, dirty, owner);
  }

  private async keep(unit: string, seen: { dataset: Dataset; snapshots: readonly Snapshot[] }, at: number, dirty: boolean, owner: number): Promise<string> {
    const { cluster, zfs, host, clock, event, log } = this.context;
    const dataset = `${cluster.dataset}/${unit}`;
    const atMs = Math.floor(clock.wallMs());
    const epoch = seen.snapshots.reduce((highest, { name }) => Math.max(highest, parseSnapshotName(name)?.epoch ?? 0), 0) || Math.max(1, owner - 1);
    const id = stashId(unit, epoch, host.node, atMs);
    const base = seen.snapshots[at];
    await ensureStash(this.context);
    this.pending?.add(unit);
    await zfs.set(dataset, { readonly: "on", [stashProperty]: `pending:${base?.guid ?? ""}` });
    await zfs.rename(dataset, `${stashRoot(cluster.dataset)}/${id}`);
    await this.finish(unit);
    const what = base === undefined ? "the whole copy, which shares nothing with the home's" : `${seen.snapshots.length - at - 1} snapshots after ${base.name}${dirty ? " and what was written after the last one" : ""}`;
    event(unit, "stashed", `${host.node} keeps ${what} of epoch ${epoch} as ${id}`);
    log.warn({ unit, stash: id, dirty }, "a history that lost was put into the stash");
    return id;
  }

  /** What `look` finds when no stash of the unit is half done any more. The caller has the unit for itself. */
  public async whole<T>(unit: string, look: () => Promise<T | undefined>): Promise<T | undefined> {
    await this.finish(unit);
    const seen = await look();
    if (seen !== undefined || !(await this.find()).includes(unit)) return seen;
    await this.finish(unit);
    return look();
  }
  /** Is a stash of the unit half done, as far as is known? No command. */
  public isHalfDone(unit: string): boolean {
    return this.pending?.has(unit) ?? true;
  }
  /** Units with a stash that is half done, by one look at the disk. */
  public async find(): Promise<string[]> {
    const { cluster, zfs } = this.context;
    const found = halfDone(await zfs.datasets(stashRoot(cluster.dataset)).catch(noneIfMissing), cluster.dataset).map(({ unit }) => unit);
    for (const unit of found) this.pending?.add(unit);
    return [...new Set([...(this.pending ?? []), ...found])];
  }

  /** Takes up what was left half done of the unit. Throws what keeps it from being finished; it stays pending then. */
  public async finish(unit: string): Promise<void> {
    const { cluster, zfs } = this.context;
    if (!this.isHalfDone(unit)) return;
    const all = await zfs.datasets(stashRoot(cluster.dataset)).catch(noneIfMissing);
    for (const one of halfDone(all, cluster.dataset)) if (one.unit === unit) await this.rebase(one);
    this.pending?.delete(unit);
  }
  /** After a start, of all units. One that cannot be finished now (a full pool refuses the clone) stays pending: a node must start its sites all the same. `all`: the datasets of this node. */
  public async recover(all: readonly Dataset[]): Promise<void> {
    this.pending = new Set();
    for (const one of halfDone(all, this.context.cluster.dataset)) {
      await this.rebase(one).catch((err: unknown) => {
        this.pending?.add(one.unit);
        this.context.log.warn({ unit: one.unit, stash: one.stashed.name, err }, "a stash is left half done for now: its unit has no copy here until it is finished");
      });
    }
  }

  private async rebase({ unit, stashed, guid }: HalfDone): Promise<void> {
    const { zfs, log, host, cluster } = this.context;
    const dataset = `${cluster.dataset}/${unit}`;
    const base = (await zfs.snapshots(stashed.name)).find((snapshot) => snapshot.guid === guid);
    const here = await zfs.look(dataset);
    if (here === undefined && base !== undefined) {
      const { stash: _stash, state: _state, ...user } = stashed.user;
      const properties = Object.fromEntries(Object.entries(user).map(([name, value]) => [userPrefix + name, value]));
      await zfs.clone(`${stashed.name}@${base.name}`, dataset, { canmount: "noauto", readonly: "on", mountpoint: `${host.paths.data}/${unit}`, ...properties, [`${userPrefix}state`]: "live" });
    }
    if (base !== undefined && (here === undefined || here.dataset.origin === `${stashed.name}@${base.name}`)) await zfs.promote(dataset);
    else if (base !== undefined) log.warn({ dataset, stash: stashed.name }, "the unit came back another way; the stash stays whole");
    // where it is looked at is no business of the unit's own place
    await zfs.set(stashed.name, { mountpoint: `${host.paths.data}/stash/${stashed.name.slice(stashRoot(cluster.dataset).length + 1)}`, [stashProperty]: "kept" });
  }
}

/** `guid`: of the common snapshot, "" = none. */
interface HalfDone { unit: string; stashed: Dataset; guid: string }
/** Pure. */
function halfDone(all: readonly Dataset[], root: string): HalfDone[] {
  const prefix = `${stashRoot(root)}/`;
  return all.flatMap((stashed) => {
    const guid = stashed.name.startsWith(prefix) ? /^pending:([0-9]*)$/.exec(stashed.user["stash"] ?? "")?.[1] : undefined;
    const unit = stashed.user["unit"] ?? parseStashId(stashed.name.slice(prefix.length))?.unit;
    return guid === undefined || unit === undefined ? [] : [{ unit, stashed, guid }];
  });
}
function noneIfMissing(error: unknown): Dataset[] {
  if (errorCode(error) === "NOT_FOUND") return [];
  throw error;
}

export async function ensureStash({ zfs, cluster }: Pick<NodeContext, "zfs" | "cluster">): Promise<void> {
  await zfs.create(stashRoot(cluster.dataset), { canmount: "off" }).catch((error: unknown) => {
    if (errorCode(error) !== "ALREADY_EXISTS") throw error;
  });
}
