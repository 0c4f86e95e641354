import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import type { Dataset } from "../zfs/zfs.js";
import { releaseHolds } from "./holds.js";
import { isStash, parseStashId, presentName, stashRoot } from "./stash.js";

/** One history that lost, as `hc stash list` shows it. `common`: the snapshot of the unit that it starts from, "" = it shares nothing with it. */
export interface StashInfo { id: string; unit: string; node: string; epoch: number; atMs: number; usedBytes: string; snapshots: number; common: string }
export interface StashAnswer { stashes: StashInfo[]; /** Nodes that could not be asked. */ unreachable: string[] }

type Context = Pick<NodeContext, "host" | "cluster" | "zfs" | "peers" | "peerRoutes" | "apiRoutes" | "event" | "view">;

async function datasetsOf({ zfs, cluster }: Context): Promise<Dataset[]> {
  const root = stashRoot(cluster.dataset);
  const all = await zfs.datasets(root).catch((error: unknown) => {
    if (errorCode(error) === "NOT_FOUND") return [];
    throw error;
  });
  return all.filter(({ name, user }) => name.startsWith(`${root}/`) && isStash(user));
}

/** One that is being taken apart just now is looked at again, so many times at most: its snapshots and its origin change places in between. */
const mostLooks = 5;

async function infoOf(context: Context, name: string): Promise<StashInfo | undefined> {
  const { zfs, cluster, host } = context;
  const id = name.slice(stashRoot(cluster.dataset).length + 1);
  const told = parseStashId(id);
  for (let look = 1; ; look += 1) {
    const seen = await zfs.look(name);
    if (seen === undefined) return undefined; // discarded meanwhile
    const { user, usedBytes, origin } = seen.dataset;
    const unit = user["unit"] ?? "";
    const all = seen.snapshots.filter((snapshot) => snapshot.name !== presentName);
    // until it is taken apart, the past that is the unit's lies here too
    const pending = all.findIndex(({ guid }) => `pending:${guid}` === user["stash"]);
    const common = pending >= 0 ? (all[pending]?.name ?? "") : origin.startsWith(`${cluster.dataset}/${unit}@`) ? origin.slice(origin.indexOf("@") + 1) : "";
    if (common === "" && /^pending:[0-9]/.test(user["stash"] ?? "") && look < mostLooks) continue;
    return { id, unit, node: host.node, epoch: told?.epoch ?? 0, atMs: told?.atMs ?? 0, usedBytes, snapshots: all.length - 1 - pending, common };
  }
}

async function listHere(context: Context): Promise<StashInfo[]> {
  const infos: StashInfo[] = [];
  for (const { name } of await datasetsOf(context)) {
    const info = await infoOf(context, name);
    if (info !== undefined) infos.push(info);
  }
  return infos;
}

/** Destroys one stash for good, with its snapshots; only ever by a person's word. Throws NOT_FOUND; CONFLICT, and nothing is destroyed, while something is cloned from it: it is being compared, or restored from (../vault). */
async function discardHere(context: Context, id: string): Promise<void> {
  const { zfs, cluster, event, host } = context;
  const found = (await datasetsOf(context)).find(({ name }) => name === `${stashRoot(cluster.dataset)}/${id}`);
  if (found === undefined) throw new HcError("NOT_FOUND", `There is no ${JSON.stringify(id.slice(0, 120))} in the stash of ${host.node}.`);
  if (found.user["stash"] !== "kept") throw new HcError("NOT_READY", `${id} is still being taken apart; try again in a moment.`);
  const clone = (await zfs.datasets(cluster.dataset)).find(({ origin }) => origin.startsWith(`${found.name}@`));
  if (clone !== undefined) throw new HcError("CONFLICT", `${id} is in use: ${clone.name} is a clone of it. Try again when the comparison or restore is over.`);
  await zfs.unmount(found.name);
  await releaseHolds(zfs, found.name, cluster.members.map(({ node }) => node));
  // whoever opens it from now on does so at its present: that one goes first, and where it cannot go, nothing has gone
  const names = (await zfs.snapshots(found.name)).map(({ name }) => name);
  for (const name of [...names.filter((one) => one === presentName), ...names.filter((one) => one !== presentName)]) await zfs.destroy(`${found.name}@${name}`);
  await zfs.destroy(found.name);
  event(found.user["unit"] ?? "", "stash-discarded", `${id} on ${host.node}`);
}

/** `GET /v1/stash`, `DELETE /v1/stash/<id>`: stashes are no records: what lies on the disks of the nodes is asked for. */
export function stashRoutes(context: Context): void {
  const { peers, view, peerRoutes, apiRoutes } = context;
  const gather = async (): Promise<StashAnswer> => {
    const unreachable: string[] = [];
    const nodes = [...view.current().nodes.values()].map(({ value }) => value).filter(({ role }) => role === "node").map(({ node }) => node);
    const found = await Promise.all(nodes.map(async (node) => {
      try {
        return (await peers.call<{ stashes: StashInfo[] }>(node, "GET", "/peer/v1/stash", undefined, { timeoutMs: 10_000 })).stashes;
      } catch (error) {
        unreachable.push(`${node}: ${messageOf(error)}`);
        return [];
      }
    }));
    return { stashes: found.flat().sort((a, b) => b.atMs - a.atMs || (a.id < b.id ? -1 : 1)), unreachable: unreachable.sort() };
  };
  peerRoutes.route("GET", "/peer/v1/stash", async () => ({ stashes: await listHere(context) }));
  peerRoutes.route("DELETE", "/peer/v1/stash/:id", async ({ params }) => {
    await discardHere(context, params["id"] ?? "");
    return { id: params["id"] };
  });
  apiRoutes.route("GET", "/v1/stash", gather);
  apiRoutes.route("DELETE", "/v1/stash/:id", async ({ params }) => {
    const id = params["id"] ?? "";
    const { stashes, unreachable } = await gather();
    const found = stashes.find((one) => one.id === id);
    if (found === undefined) throw new HcError("NOT_FOUND", `There is no ${JSON.stringify(id.slice(0, 120))} in a stash${unreachable.length === 0 ? "" : `; not asked: ${unreachable.join("; ")}`}.`);
    return peers.call(found.node, "DELETE", `/peer/v1/stash/${encodeURIComponent(id)}`, undefined, { timeoutMs: 120_000 });
  });
}
