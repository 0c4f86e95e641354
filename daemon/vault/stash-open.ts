import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { desiredOf } from "../state/cluster-state.js";
import { unframe } from "../replication/frames.js";
import { receiveInto, watchIdle } from "../replication/receive-into.js";
import { parseStashId, presentName, stashRoot } from "../replication/stash.js";
import { readHead } from "../replication/wire.js";
import type { VaultSnapshot } from "./choose-snapshot.js";
import type { Opened, VaultClones } from "./clones.js";
import type { StashDetail } from "./stash-desk.js";

const idleTimeoutMs = 20_000;
/** The first look at a stash makes a snapshot, and may replay an intent log. */
const detailMs = 60_000;
const sourcePrefix = "stash/";

/** How a restore names a stash as the source of its content (`restore.source` of a record). */
export const stashSource = (id: string): string => sourcePrefix + id;
export const stashOfSource = (source: string | undefined): string | undefined => (source?.startsWith(sourcePrefix) === true ? source.slice(sourcePrefix.length) : undefined);
/** Throws INVALID_INPUT. */
export function stashNode(id: string): string {
  const told = parseStashId(id);
  if (told === undefined) throw new HcError("INVALID_INPUT", `stash: ${JSON.stringify(id.slice(0, 120))} is no id of a stash; \`hc stash list\` shows them.`);
  return told.node;
}

type Context = Pick<NodeContext, "cluster" | "zfs" | "peers" | "view" | "host">;
const detailOf = ({ peers }: Context, id: string): Promise<StashDetail> => peers.call<StashDetail>(stashNode(id), "POST", `/peer/v1/stash/${encodeURIComponent(id)}/present`, {}, { timeoutMs: detailMs });

/** What a restore of `unit` out of a stash takes. Numbers of users and groups are the same only within a customer, and one customer never sees another's files: names of units are used again. Throws INVALID_INPUT, NOT_FOUND, UNREACHABLE. */
export async function chosenStash(context: Context, unit: string, id: string): Promise<{ snapshot: VaultSnapshot; source: string }> {
  const stash = await detailOf(context, id);
  const state = context.view.current();
  const mine = desiredOf(state, "site", state.units.get(unit)?.value.name ?? "")?.value.spec.customer;
  const theirs = stash.customer !== "" ? stash.customer : (await isOfPresent(context, unit, stash)) ? mine : undefined;
  if (mine === undefined || mine !== theirs) throw new HcError("INVALID_INPUT", `stash: ${id} belongs to the customer ${theirs ?? "(not known)"}, ${unit} to ${mine ?? "(not known)"}.`);
  return { snapshot: { name: presentName, guid: stash.present, createtxg: "0", atMs: stash.stashedAtMs, madeMs: stash.stashedAtMs }, source: stashSource(id) };
}

/** Of one that bears no document: does it stand on a snapshot of what the unit is now? Then it is the unit's, whoever else had the name before. */
async function isOfPresent({ cluster, zfs }: Context, unit: string, { unit: theirs, common }: StashDetail): Promise<boolean> {
  if (theirs !== unit || common === null) return false;
  return (await zfs.look(`${cluster.dataset}/${unit}`))?.snapshots.some(({ guid }) => guid === common.guid) ?? false;
}

/**
 * The content of a stash as a read-only folder on this node: a clone where the stash lies here, else received from its node for as long as it is read; an increment where this node holds the snapshot that it starts from.
 */
export async function openStash(context: Context, clones: VaultClones, unit: string, id: string, signal: AbortSignal): Promise<Opened> {
  const { cluster, zfs, host, peers } = context;
  const stash = await detailOf(context, id);
  if (stash.node === host.node) return clones.work(unit, presentName, `${stashRoot(cluster.dataset)}/${id}`);
  const own = await zfs.look(`${cluster.dataset}/${stash.unit}`);
  const have = own?.snapshots.find(({ guid }) => guid === stash.common?.guid)?.guid ?? "";
  return clones.received(unit, async (dataset, properties) => {
    const stream = await peers.download(stash.node, `/peer/v1/stash/${encodeURIComponent(id)}/stream?have=${have}`, { idleTimeoutMs, signal });
    const endWatch = watchIdle(stream, idleTimeoutMs);
    try {
      const { head: raw, payload } = await unframe(stream);
      const head = readHead(raw);
      if (head.unit !== stash.unit || head.guid !== stash.present || (head.baseGuid !== "" && head.baseGuid !== have)) throw new HcError("INVALID_INPUT", `${stash.node} sent ${head.unit}@${head.snapshot}, not what was asked for.`);
      await receiveInto(zfs, dataset, payload, properties, signal);
      const received = (await zfs.snapshots(dataset)).at(-1)?.guid;
      if (received !== stash.present) throw new HcError("INTERNAL", `${dataset} has guid ${received ?? "none"} after the receive, not ${stash.present}.`);
    } finally {
      endWatch();
      stream.destroy();
    }
  });
}
