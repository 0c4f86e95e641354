import { type CustomerRecord, keys, recordVersion } from "../lib/records.js";
import type { SiteSpec } from "../lib/documents.js";
import type { PlanInput, PlannedWrite } from "./plan-cluster.js";

/** First number given to customers; the hosts' own users are far below. */
export const firstNumber = 20_000;
const userNameLimit = 32; // useradd(8) and FreeBSD's MAXLOGNAME

/** `hc-<name>`; names that would be too long for a host are cut and end in a digest. */
export function userName(customer: string): string {
  const plain = `hc-${customer}`;
  if (plain.length <= userNameLimit) return plain;
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(customer)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return `${plain.slice(0, userNameLimit - 9)}-${hash.toString(16).padStart(8, "0")}`;
}

/** Numbers for new customers (never those of a deleted one), the mark on those that are gone. A customer that comes back gets its own numbers again. */
export function planCustomers({ state }: PlanInput): PlannedWrite[] {
  const writes: PlannedWrite[] = [];
  let next = firstNumber;
  for (const { value } of state.customers.values()) next = Math.max(next, value.uid + 1, value.gid + 1);
  const wanted = [...state.desired.values()].filter(({ value }) => value.kind === "customer").map(({ value }) => value.name).sort();
  for (const name of wanted) {
    const found = state.customers.get(name);
    if (found !== undefined && found.value.deleted !== true) continue;
    const kept = found?.value;
    const record: CustomerRecord = kept === undefined ? { version: recordVersion, name, uid: next, gid: next, user: userName(name) } : { version: recordVersion, name, uid: kept.uid, gid: kept.gid, user: kept.user };
    if (kept === undefined) next += 1;
    writes.push({ key: keys.customer(name), compare: [{ key: keys.customer(name), modRevision: found?.revision ?? "0" }], ops: [{ put: keys.customer(name), value: JSON.stringify(record) }], why: `customer ${name} gets number ${record.uid}` });
  }
  // A unit on its way to the trash still runs under its customer's user, and its document no longer says whose it is.
  const leaving = [...state.units.values()].some(({ value }) => !state.desired.has(`site/${value.name}`));
  if (leaving) return writes;
  const used = new Set([...state.desired.values()].filter(({ value }) => value.kind === "site").map(({ value }) => (value.spec as SiteSpec).customer));
  for (const [name, { value, revision }] of [...state.customers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (value.deleted === true || used.has(name) || state.desired.has(`customer/${name}`)) continue;
    const key = keys.customer(name);
    writes.push({ key, compare: [{ key, modRevision: revision }, { key: keys.desired("customer", name), modRevision: "0" }], ops: [{ put: key, value: JSON.stringify({ ...value, deleted: true }) }], why: `customer ${name} is gone` });
  }
  return writes;
}
