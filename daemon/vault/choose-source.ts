import { assertHome } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";
import { mayRecord } from "../replication/snapshotter.js";
import { readUnitSnapshots } from "../replication/wire.js";
import { desiredOf } from "../state/cluster-state.js";
import type { Snapshot } from "../zfs/zfs.js";
import { chooseSnapshot, type VaultSnapshot } from "./choose-snapshot.js";
import { groupedAs } from "./groups.js";

const homeMs = 15_000;

/**
 * What a restore of `unit` to a time of another unit takes. Numbers of users and groups are the same only within a customer, and one customer never sees another's files: so the documents must be of one customer, and
 * the copy here must be what that document's unit is. Throws NOT_HOME, NOT_FOUND, INVALID_INPUT, IMPOSSIBLE_CHANGE, NOT_READY, UNREACHABLE.
 */
export async function chooseOfOther(context: NodeContext, unit: string, source: string, at: string): Promise<VaultSnapshot> {
  const node = context.cluster.node;
  assertHome(context, unit);
  const state = context.view.current();
  const record = state.units.get(source)?.value;
  const [mine, theirs] = [unit, source].map((id) => desiredOf(state, "site", state.units.get(id)?.value.name ?? "")?.value.spec.customer);
  if (theirs === undefined || record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${source}.`);
  if (mine !== theirs) throw new HcError("INVALID_INPUT", `from: ${source} belongs to the customer ${theirs}, ${unit} to ${mine}.`);
  const seen = await context.zfs.look(`${context.cluster.dataset}/${source}`);
  if (seen?.dataset.user["unit"] !== source) throw new HcError("IMPOSSIBLE_CHANGE", `${node}, the home of ${unit}, holds no copy of ${source}: move ${unit} to a node that does (\`hc site show ${source.replace(/^site-/, "")}\`).`);
  await assertPresent(context, record, seen.snapshots);
  return chooseSnapshot(source, seen.snapshots, groupedAs(record, at), context.clock.wallMs());
}

/**
 * Is the copy here of the unit's present history, and not one that a node has kept that was away while the unit lost a history, or was deleted and made anew for another customer? The epoch on the dataset does not tell:
 * the agent writes the record's onto whatever lies under the unit's name, and after a failover a healthy copy bears the old one for a moment. The home does: a healthy copy's newest snapshot is one of its own, because it
 * is held there (replication/holds.ts), and all before it are then of the same line.
 */
async function assertPresent({ cluster, session, peers }: NodeContext, record: UnitRecord, here: readonly Snapshot[]): Promise<void> {
  const { unit, home, state } = record;
  if (state !== "live") throw new HcError("NOT_READY", `${unit} is ${state}: nothing is read of it.`);
  if (home === cluster.node) {
    if (!mayRecord(record, session)) throw new HcError("NOT_READY", `${home} has not taken ${unit} over yet.`);
    return;
  }
  const theirs = readUnitSnapshots(await peers.call(home, "GET", `/peer/v1/units/${unit}/snapshots`, undefined, { timeoutMs: homeMs }), home).snapshots;
  const newest = here.at(-1);
  if (newest === undefined || theirs.some(({ guid }) => guid === newest.guid)) return;
  throw new HcError("IMPOSSIBLE_CHANGE", `The copy of ${unit} on ${cluster.node} ends with ${newest.name}, which its home ${home} does not hold: it is of another history, and nothing is read of it. Wait until the copy is in step (\`hc site show ${unit.replace(/^site-/, "")}\`), and order it again.`);
}
