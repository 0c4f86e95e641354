import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { receiveInto } from "../replication/receive-into.js";
import { userPrefix } from "../zfs/commands.js";
import { makeSnapshotName } from "../zfs/snapshot-name.js";
import type { Snapshot } from "../zfs/zfs.js";
import type { DiskUnit } from "./disk-report.js";

type Context = Pick<NodeContext, "zfs" | "cluster" | "host" | "clock" | "log">;

/** Pure: the sends that bring `to` to the newest of `from`, oldest first; a text: why there is no way. `origin`: guid of the template's snapshot that `from` is a clone of and that this pool holds too, "" = none. */
export function planTransfer(from: readonly Pick<Snapshot, "name" | "guid">[], to: readonly Pick<Snapshot, "name" | "guid">[], origin: string): { name: string; base: string | null }[] | { blocked: string } {
  const last = to.at(-1);
  const at = last === undefined ? -1 : from.findIndex(({ guid }) => guid === last.guid);
  if (last !== undefined && at < 0) return { blocked: `the copy that is here already ends with ${last.name}, which the pool does not hold: move that one away first (zfs rename)` };
  return from.slice(at + 1).map(({ name }, step) => ({ name, base: from[at + step]?.name ?? (origin === "" ? null : "origin") }));
}

/**
 * What was written after the newest snapshot becomes a snapshot of its own on the pool that was plugged in. After a power cut it may lie in an intent log that only a mount replays: it is mounted for a moment,
 * beside everything (`<data>/stash/adopt`), where no container sees it.
 */
export async function snapshotPresent({ zfs, host, clock }: Context, unit: DiskUnit): Promise<void> {
  const seen = await zfs.look(unit.dataset);
  if (seen === undefined) throw new HcError("NOT_FOUND", `${unit.dataset} is gone.`);
  if (seen.dataset.mounted) throw new HcError("CONFLICT", `${unit.dataset} is mounted: unmount it first (zfs unmount ${unit.dataset}).`);
  await zfs.set(unit.dataset, { mountpoint: `${host.paths.data}/stash/adopt-${unit.unit}` });
  await zfs.mount(unit.dataset);
  try {
    // only of what is mounted is `written` always true
    if (((await zfs.written(unit.dataset)).get(unit.dataset) ?? "0") !== "0") await zfs.snapshot([`${unit.dataset}@${makeSnapshotName(unit.epoch, clock.wallMs(), host.node)}`]);
  } finally {
    await zfs.unmount(unit.dataset);
  }
}

/** Copies a unit with its whole history from a pool that was plugged in to this node's own. Nothing is taken away there. Broken anywhere, the next call goes on after the last snapshot that arrived. */
export async function transfer(context: Context, unit: DiskUnit, signal: AbortSignal): Promise<void> {
  const { zfs, cluster, log } = context;
  const target = `${cluster.dataset}/${unit.unit}`;
  await snapshotPresent(context, unit);
  const from = await zfs.look(unit.dataset);
  if (from === undefined) throw new HcError("NOT_FOUND", `${unit.dataset} is gone.`);
  const here = await zfs.look(target);
  if (here?.dataset.mounted === true) throw new HcError("CONFLICT", `${target} is mounted.`);
  if (here !== undefined && here.dataset.user["unit"] !== unit.unit) throw new HcError("ALREADY_EXISTS", `${target} exists and is not ours: rename it.`);
  const steps = planTransfer(from.snapshots, here?.snapshots ?? [], await sharedOrigin(context, unit));
  if ("blocked" in steps) throw new HcError("NO_COMMON_SNAPSHOT", `${unit.unit}: ${steps.blocked}.`);
  for (const { name, base } of steps) {
    const first = (await zfs.look(target)) === undefined;
    const user = Object.fromEntries(Object.entries(from.dataset.user).filter(([key]) => key !== "sealed").map(([key, value]) => [userPrefix + key, value]));
    const sent = zfs.send(`${unit.dataset}@${name}`, base === null ? undefined : base === "origin" ? from.dataset.origin : `${unit.dataset}@${base}`, signal);
    sent.done.catch(() => undefined);
    await receiveInto(zfs, target, sent.stream, first ? { readonly: "on", canmount: "noauto", ...user } : {}, signal);
    await sent.done;
  }
  log.info({ unit: unit.unit, from: unit.dataset, snapshots: steps.length }, "adopt: copied");
}

async function sharedOrigin({ zfs, cluster }: Context, unit: DiskUnit): Promise<string> {
  if (unit.from === null) return "";
  const held = await zfs.look(`${cluster.dataset}/tmpl-${unit.from.template}`);
  return held?.snapshots.find(({ guid }) => guid === unit.from?.guid)?.guid ?? "";
}
