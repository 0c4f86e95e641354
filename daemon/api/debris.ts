import type { NodeContext } from "../context.js";

export interface Debris { node: string; datasets: string[]; users: string[]; services: string[]; mounts: string[] }

/** What this node holds that no record names (for the checker of tests, and `hc doctor`). Nothing is removed here. */
export async function findDebris(context: NodeContext): Promise<Debris> {
  const { host, cluster, platform, zfs, store } = context;
  const names = async (prefix: string): Promise<string[]> => (await store.list(prefix)).items.map((item) => item.key.slice(prefix.length));
  const units = new Map((await store.list("/hc/unit/")).items.map((item) => {
    const record = JSON.parse(item.value) as { unit: string; home: string; replicas: string[]; move?: { target: string } };
    return [record.unit, record];
  }));
  const trash = new Map((await store.list("/hc/trash/")).items.map((item) => {
    const record = JSON.parse(item.value) as { id: string; nodes: string[] };
    return [record.id, record];
  }));
  const templates = new Set((await names("/hc/template/")).map((key) => key.split("/")[0]));
  const customers = new Set((await store.list("/hc/customer/")).items.map((item) => JSON.parse(item.value) as { user: string; deleted?: boolean }).filter((record) => record.deleted !== true).map((record) => record.user));
  const mine = (unit: string): boolean => {
    const record = units.get(unit);
    return record !== undefined && (record.home === host.node || record.replicas.includes(host.node) || record.move?.target === host.node);
  };
  const root = cluster.dataset;
  const datasets = root === "" ? [] : await zfs.datasets(root);
  const stray = datasets.filter(({ name }) => {
    if (name === root) return false;
    const inner = name.slice(root.length + 1);
    if (inner === "trash" || inner === "stash" || inner === "vault" || inner === "incoming") return false;
    if (inner.startsWith("stash/")) return false; // no record names a stash: `hc stash list` shows what lies there
    if (inner.startsWith("vault/")) return false; // clones that go by themselves: `hc vault list` shows them
    if (inner.startsWith("trash/")) return !(trash.get(inner.slice(6))?.nodes.includes(host.node) ?? false);
    if (inner.startsWith("incoming/")) return !mine(inner.slice(9));
    if (inner.startsWith("tmpl-")) return !templates.has(inner.slice(5));
    return !mine(inner);
  });
  const services = [...(await platform.serviceStates("hc-site-")).keys()].filter((name) => !mine(name.slice(3).replace(/\.service$/, "")));
  return {
    node: host.node,
    datasets: stray.map(({ name }) => name),
    users: (await platform.listUsers("hc-")).map(({ user }) => user).filter((user) => !customers.has(user)),
    services,
    mounts: datasets.filter(({ name, mounted }) => mounted && name.startsWith(`${root}/site-`) && units.get(name.slice(root.length + 1))?.home !== host.node).map(({ mountpoint }) => mountpoint),
  };
}
