import { formatSize } from "../../daemon/lib/sizes.js";
import type { Status, StatusNode, StatusUnit } from "../../daemon/lib/status.js";
import { table } from "../output.js";

const yes = (value: boolean): string => (value ? "yes" : "NO");
const etcdText = (etcd: StatusNode["etcd"]): string => `${etcd.role}${etcd.healthy ? "" : " (unhealthy)"}${etcd.fsyncMs === null ? "" : ` ${etcd.fsyncMs.toFixed(1)} ms`}`;

export function nodesTable(nodes: readonly StatusNode[]): string {
  return table(
    ["NODE", "ADDRESS", "ALIVE", "ZONE", "POOL", "FREE", "MEMORY FREE", "ETCD (FSYNC)", "MAY BE LOST"],
    nodes.map((node) => [
      node.name, node.address, `${node.alive ? "yes" : `NO (${Math.round(node.lastSeenS)} s)`}${node.drained ? ", drained" : ""}${node.alive && node.watchdog !== undefined ? `, watchdog ${node.watchdog}` : ""}`, node.zone === "" ? "-" : node.zone,
      node.pool === null ? "-" : `${node.pool.name} ${node.pool.health}`,
      node.pool === null ? "-" : `${formatSize(node.pool.freeBytes)} of ${formatSize(node.pool.sizeBytes)}`,
      node.memory.totalBytes === 0 ? "-" : `${formatSize(node.memory.availableBytes)} of ${formatSize(node.memory.totalBytes)}`,
      etcdText(node.etcd), yes(node.mayBeLost),
    ]),
  );
}

const lagText = (lag: number | null): string => (lag === null ? "?" : `${Math.round(lag)} s`);
export function unitsTable(units: readonly StatusUnit[]): string {
  if (units.length === 0) return "No units yet.\n";
  return table(
    ["UNIT", "STATE", "HOME", "EPOCH", "REPLICAS (LAG)", "USED", "QUOTA", "HOSTNAMES"],
    units.map((unit) => [
      unit.id + (unit.origin === "api" ? " *" : ""), unit.state, unit.home === "" ? "-" : unit.home, String(unit.epoch),
      unit.replicas.map((replica) => `${replica.node} (${lagText(replica.lagSeconds)})`).join(", ") || "-",
      formatSize(unit.usedBytes), unit.quota === "" ? "-" : unit.quota, unit.hostnames.slice(0, 2).join(", ") + (unit.hostnames.length > 2 ? ` +${unit.hostnames.length - 2}` : ""),
    ]),
  );
}

export function statusText(status: Status): string {
  const attention = status.attention.length === 0 ? "Nothing needs a person.\n" : status.attention.map((item) => `${item.severity === "critical" ? "!!" : "! "} ${item.what}\n   next: ${item.command}\n`).join("");
  const marks = status.units.some((unit) => unit.origin === "api") ? "* made through the API, not by the program\n" : "";
  return `Cluster ${status.cluster}: ${status.health}, led by ${status.leader === "" ? "nobody" : status.leader}\n\n${nodesTable(status.nodes)}\n${unitsTable(status.units)}${marks}\n${attention}`;
}
export const statusExit = (status: Status): number => ({ ok: 0, warning: 1, critical: 2 })[status.health];
