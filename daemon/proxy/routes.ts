import type { ClusterSpec } from "../lib/documents.js";
import { hstsValue, type SiteTlsSpec } from "../lib/tls-spec.js";
import { restoreOf } from "../lib/records.js";
import type { ClusterState } from "../state/cluster-state.js";

/** What a worker needs to send any request home. Versioned data: a worker goes on with its last table while the control process is away. */
export interface RouteTable {
  version: 1;
  /** etcd revision that it was made from. */
  revision: string;
  /** Of this node's session; missing in tables of the versions before. */
  generation?: number;
  node: string;
  /** Host name (no port, no brackets; "*.name" for wildcards) → unit. */
  hosts: Record<string, string>;
  units: Record<string, UnitRoute>;
  nodes: Record<string, { addresses: string[]; port: number }>;
  apachePort: number;
  /** Public HTTPS of this node, where redirects go; missing: none. */
  httpsPort?: number;
  /** Addresses and networks of load balancers, whose connections begin with a PROXY header; missing: none. */
  proxyFrom?: string[];
}
export interface UnitRoute {
  home: string;
  epoch: number;
  /** First of the epochs whose answers may still be passed on: those that led to this one by planned moves; default `epoch` (OWNERSHIP 8, which means a lost history). */
  since?: number;
  /** At home here, mounted, started and checked: the gate of this node. */
  open: boolean;
  /** Of its customer, under which the site's programs run; where it is at home. */
  uid?: number;
  /** Redirect to HTTPS; value of Strict-Transport-Security there, "" = none. Missing: neither. */
  tls?: { redirect: boolean; hsts: string };
  /** Its requests are not logged. Missing: they are. */
  accessLog?: false;
}

/** What this node's control process knows of its own units. What it has published may be from before, and says nothing of what is being done just now. */
export interface OwnUnits {
  /** unit → the epoch in which it serves, as this process has seen; 0: it does not. Missing: it was not looked at yet. */
  serving: ReadonlyMap<string, number>;
  /** The table of the process before this one, whose session goes on: it holds for units that were not looked at yet. Missing: they are closed. */
  before?: RouteTable | undefined;
}

/** Pure: the same picture gives the same table. */
export function buildRoutes(state: ClusterState, node: string, generation: number, apachePort: number, httpsPort = 0, own: OwnUnits = { serving: new Map() }): RouteTable {
  const hosts: RouteTable["hosts"] = {};
  const units: RouteTable["units"] = {};
  for (const [id, { value: record }] of state.units) {
    if (record.state === "deleting") continue;
    const mayOpen = record.home === node && record.state === "live" && record.homeGeneration === generation && record.move?.phase !== "stopping" && restoreOf(record) === undefined;
    const open = mayOpen && isUp(id, record.epoch, own);
    units[id] = { home: record.home, epoch: record.epoch, ...(record.handed?.epoch === record.epoch ? { since: record.handed.since } : {}), open };
  }
  let proxyFrom: string[] | undefined;
  for (const { value: document } of state.desired.values()) {
    if (document.kind === "cluster") proxyFrom = (document.spec as ClusterSpec).proxyProtocol?.from;
    if (document.kind !== "site") continue;
    const unit = `site-${document.name}`;
    if (units[unit] === undefined) continue;
    const { customer, hostnames, tls, accessLog } = document.spec as { customer?: string; hostnames: string[]; tls?: SiteTlsSpec; accessLog?: boolean };
    const uid = units[unit].home === node && customer !== undefined ? state.customers.get(customer)?.value.uid : undefined;
    if (uid !== undefined) units[unit].uid = uid;
    if (accessLog === false) units[unit].accessLog = false;
    if (tls !== undefined) units[unit].tls = { redirect: tls.redirect, hsts: tls.hsts === undefined ? "" : hstsValue(tls.hsts) };
    for (const name of hostnames) hosts[name.replace(/^\[|\]$/g, "")] ??= unit;
  }
  const nodes: RouteTable["nodes"] = {};
  for (const [name, { value }] of state.nodes) nodes[name] = { addresses: value.addresses, port: value.ports.peer };
  return { version: 1, revision: state.revision, node, generation, hosts, units, nodes, apachePort, ...(httpsPort === 0 ? {} : { httpsPort }), ...(proxyFrom === undefined ? {} : { proxyFrom }) };
}

function isUp(unit: string, epoch: number, own: OwnUnits): boolean {
  const known = own.serving.get(unit);
  if (known !== undefined) return known === epoch;
  const before = own.before?.units[unit];
  return before?.open === true && before.epoch === epoch;
}

/** Exact name, else the nearest wildcard. */
export function unitOfHost(table: RouteTable, host: string): string | undefined {
  // own properties only: "constructor" is a host name that anybody may send
  if (Object.hasOwn(table.hosts, host)) return table.hosts[host];
  for (let dot = host.indexOf("."); dot !== -1; dot = host.indexOf(".", dot + 1)) {
    const wildcard = `*${host.slice(dot)}`;
    if (Object.hasOwn(table.hosts, wildcard)) return table.hosts[wildcard];
  }
  return undefined;
}

/** Tables that differ only in their revision are the same to a worker. */
export function sameRoutes(a: RouteTable | undefined, b: RouteTable): boolean {
  return a !== undefined && JSON.stringify({ ...a, revision: "" }) === JSON.stringify({ ...b, revision: "" });
}
