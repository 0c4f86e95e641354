import { documentVersion, type DesiredDocument, type Kind, type SiteSpec } from "../lib/documents.js";
import { type CustomerRecord, keys, recordVersion } from "../lib/records.js";
import { firstNumber } from "../placement/plan-customers.js";
import type { ClusterState } from "../state/cluster-state.js";
import type { Compare, Op } from "../state/store.js";
import type { DiskUnit } from "./disk-report.js";

/** What a transaction that brings a unit back writes beside its record. */
export interface Needed { compare: Compare[]; ops: Op[]; made: string[]; /** Numbers under which its files shall lie. */ customer: CustomerRecord }

/** The numbers of customers that earlier units of the same plan have taken. */
export class Numbers {
  private readonly taken = new Map<string, CustomerRecord>();
  public constructor(private readonly state: ClusterState) {}
  /** Those it has, else those of the disk where nobody else has them, else the next free ones. */
  public of(name: string, disk: { uid: number; gid: number; user: string }): CustomerRecord {
    const present = this.taken.get(name) ?? this.state.customers.get(name)?.value;
    if (present !== undefined && present.deleted !== true) return present;
    const all = [...this.state.customers.values()].map(({ value }) => value).concat([...this.taken.values()]).filter((one) => one.name !== name);
    const free = disk.uid >= firstNumber && disk.gid >= firstNumber && !all.some(({ uid, gid, user }) => uid === disk.uid || gid === disk.gid || user === disk.user);
    const next = all.reduce((most, { uid, gid }) => Math.max(most, uid + 1, gid + 1), firstNumber);
    const numbers = present ?? (free ? disk : { uid: next, gid: next, user: disk.user });
    const record: CustomerRecord = { version: recordVersion, name, uid: numbers.uid, gid: numbers.gid, user: numbers.user };
    this.taken.set(name, record);
    return record;
  }
}

/** Pure: documents and the customer's record that a unit on a disk needs and the cluster lacks; `newer`: the disk's definition is put over the cluster's. A text: why it cannot be. */
export function neededDocuments(state: ClusterState, unit: DiskUnit, numbers: Numbers, newer: boolean): Needed | { blocked: string } {
  const { document, config } = unit;
  const present = document === null ? undefined : state.desired.get(`site/${document.name}`);
  const site = (present?.value ?? document) as DesiredDocument<"site"> | null;
  if (site === null) return { blocked: `its dataset bears no definition that can be read (zfs get hybridcluster:definition ${unit.dataset})` };
  const { customer: name, template } = site.spec;
  const known = state.customers.get(name);
  if (config === null && (known === undefined || known.value.deleted === true)) return { blocked: `its dataset does not say under which numbers the files of customer ${name} lie (hybridcluster:config), and the cluster does not know that customer` };
  if (present === undefined) {
    const taken = hostnameTaken(state, site);
    if (taken !== "") return { blocked: taken };
  }
  const ops: Op[] = [];
  const compare: Compare[] = [];
  const made: string[] = [];
  const put = (kind: Kind, document: DesiredDocument): void => {
    const key = keys.desired(kind, document.name);
    compare.push({ key, modRevision: state.desired.get(`${kind}/${document.name}`)?.revision ?? "0" });
    ops.push({ put: key, value: JSON.stringify(document) });
    made.push(`${kind} ${document.name}`);
  };
  if (document !== null && (present === undefined || (newer && JSON.stringify(present.value) !== JSON.stringify(document)))) put("site", document);
  if (!state.desired.has(`customer/${name}`)) {
    if (config === null) return { blocked: `there is no customer ${name}, and its dataset does not tell of it (hybridcluster:config)` };
    put("customer", { version: documentVersion, kind: "customer", name, origin: config.customer.origin, spec: config.customer.spec });
  }
  // without its template a site goes on as it is: it is a clone already
  if (config?.template != null && !state.desired.has(`template/${template}`)) put("template", { version: documentVersion, kind: "template", name: template, origin: config.template.origin, spec: config.template.spec });
  const customer = config === null ? (known as { value: CustomerRecord }).value : numbers.of(name, config.customer);
  if (JSON.stringify(known?.value) !== JSON.stringify(customer)) {
    compare.push({ key: keys.customer(name), modRevision: known?.revision ?? "0" });
    ops.push({ put: keys.customer(name), value: JSON.stringify(customer) });
  }
  return { compare, ops, made, customer };
}

function hostnameTaken(state: ClusterState, site: DesiredDocument<"site">): string {
  for (const { value } of state.desired.values()) {
    if (value.kind !== "site" || value.name === site.name) continue;
    const taken = (value.spec as SiteSpec).hostnames.find((hostname) => site.spec.hostnames.includes(hostname));
    if (taken !== undefined) return `its host name ${taken} belongs to the site ${value.name} now`;
  }
  return "";
}
