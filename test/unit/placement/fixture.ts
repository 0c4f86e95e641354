import { type DesiredDocument, type Kind, type SiteSpec, siteDefaults, type SpecOf } from "../../../daemon/lib/documents.js";
import type { CustomerRecord, NodeRecord, ObservedNode, ObservedUnit, SessionRecord, TemplateRecord, TrashRecord, UnitRecord } from "../../../daemon/lib/records.js";
import type { ClusterState, Versioned } from "../../../daemon/state/cluster-state.js";

const linux = { platform: "linux", php: "8.2" } as const;
export const runtimes = { linux, freebsd: { platform: "freebsd", php: "8.2" }, newer: { platform: "linux", php: "8.4" } } as const;

/** A ClusterState written down part by part; revisions are given in the order of the calls. */
export class StateBuilder {
  private revision = 100;
  private readonly maps = {
    desired: new Map<string, Versioned<DesiredDocument>>(), units: new Map<string, Versioned<UnitRecord>>(), sessions: new Map<string, Versioned<SessionRecord>>(), nodes: new Map<string, Versioned<NodeRecord>>(),
    observedNodes: new Map<string, ObservedNode>(), observedUnits: new Map<string, Map<string, ObservedUnit>>(), customers: new Map<string, Versioned<CustomerRecord>>(), templates: new Map<string, Versioned<TemplateRecord>>(), trash: new Map<string, Versioned<TrashRecord>>(),
  };
  private versioned<T>(value: T): Versioned<T> {
    this.revision += 1;
    return { value, revision: String(this.revision) };
  }
  public node(name: string, options: { zone?: string; runtime?: NodeRecord["runtime"]; freeBytes?: string; role?: "node" | "witness"; pool?: boolean } = {}): this {
    const role = options.role ?? "node";
    this.maps.nodes.set(name, this.versioned({ version: 1, node: name, addresses: [`10.0.0.${this.revision}`], zone: options.zone ?? "a", role, ports: { http: 80, peer: 4430, control: 4431 }, hcd: { version: "1", sha256: "" }, runtime: options.runtime ?? linux }));
    this.maps.sessions.set(name, this.versioned({ version: 1, node: name, generation: 1, counter: 1 }));
    this.maps.observedNodes.set(name, {
      version: 1, node: name, generation: 1, atMs: 0, load: 0, links: {}, problems: [], templates: {}, memory: { totalBytes: 1, availableBytes: 1 }, etcd: { role: "voter", healthy: true, fsyncMs: 1 },
      pool: options.pool === false || role === "witness" ? null : { name: "hpool", dataset: "hpool/hc", guid: "1", health: "ONLINE", sizeBytes: "1000000", freeBytes: options.freeBytes ?? "900000" },
    });
    return this;
  }
  public document<K extends Kind>(kind: K, name: string, spec: SpecOf[K], origin: "git" | "api" = "git"): this {
    this.maps.desired.set(`${kind}/${name}`, this.versioned({ version: 1, kind, name, origin, spec }));
    return this;
  }
  public cluster(nodes: string[], redundancy = 2): this {
    return this.document("cluster", "eu", { redundancy, nodes, settings: { txgTimeoutS: 1, rpoS: 10, trashDays: 14, etcd: { heartbeatMs: 250, electionMs: 2500 } } });
  }
  public customer(name: string, uid = 20000): this {
    this.document("customer", name, { displayName: name, contact: "" });
    this.maps.customers.set(name, this.versioned({ version: 1, name, uid, gid: uid, user: `hc-${name}` }));
    return this;
  }
  public template(name: string, options: { version?: string; builder?: string; state?: TemplateRecord["state"]; runtime?: TemplateRecord["runtime"] } = {}): this {
    const version = options.version ?? "1";
    this.document("template", name, { recipe: "php", version, settings: {} });
    this.maps.templates.set(`${name}/${version}`, this.versioned({ version: 1, name, templateVersion: version, builder: options.builder ?? "n1", state: options.state ?? "ready", guid: "77", error: "", runtime: options.runtime ?? linux }));
    return this;
  }
  /** What lies on a node's pool, `<name>@<version>`. */
  public holds(node: string, ...templates: string[]): this {
    for (const id of templates) (this.maps.observedNodes.get(node) as ObservedNode).templates[id] = "77";
    return this;
  }
  public site(name: string, spec: Partial<Omit<SiteSpec, "placement">> & { placement?: Partial<SiteSpec["placement"]> } = {}): this {
    const { placement, ...rest } = spec;
    return this.document("site", name, {
      customer: "acme", template: "php", hostnames: [`${name}.example`], ...structuredClone(siteDefaults) as unknown as Omit<SiteSpec, "customer" | "template" | "hostnames">, ...rest,
      placement: { prefer: [], require: [], avoid: [], pin: "", acrossZones: false, ...placement },
    });
  }
  public unit(name: string, home: string, replicas: string[], more: Partial<UnitRecord> = {}): this {
    const unit = `site-${name}`;
    this.maps.units.set(unit, this.versioned({ version: 1, unit, kind: "site", name, home, homeGeneration: 1, epoch: 1, epochStartGuid: "5", replicas, state: "live", runtime: linux, origin: { template: "php", version: "1", guid: "77" }, ...more }));
    return this;
  }
  public observed(node: string, name: string, more: Partial<ObservedUnit> = {}): this {
    const units = this.maps.observedUnits.get(node) ?? new Map<string, ObservedUnit>();
    units.set(`site-${name}`, { epoch: 1, state: "serving", mounted: true, usedBytes: "10", writtenBytes: "0", snapshots: [], replicas: {}, error: "", appliedRevision: this.maps.desired.get(`site/${name}`)?.revision ?? "0", ...more });
    this.maps.observedUnits.set(node, units);
    return this;
  }
  /** The home says of each node that it has confirmed a snapshot. */
  public confirmed(home: string, name: string, nodes: string[], lagS = 0): this {
    return this.observed(home, name, { replicas: Object.fromEntries(nodes.map((node) => [node, { guid: "9", snapshot: "s", confirmedAtMs: 0, lagS, error: "" }])) });
  }
  public trash(id: string, unit: string, epoch: number, expiresAtMs: number): this {
    this.maps.trash.set(id, this.versioned({ version: 1, id, unit, epoch, nodes: ["n1"], deletedAtMs: 0, expiresAtMs, document: { version: 1, kind: "site", name: "x", origin: "git", spec: { template: "old" } as SiteSpec } }));
    return this;
  }
  /** Every node reaches every other one, but for these: "n1→n2". */
  public links(...broken: string[]): this {
    for (const [node, value] of this.maps.observedNodes) value.links = Object.fromEntries([...this.maps.observedNodes.keys()].filter((other) => other !== node && !broken.includes(`${node}→${other}`)).map((other) => [other, 1]));
    return this;
  }
  public build(): ClusterState {
    return { revision: String(this.revision), ...this.maps, leader: undefined };
  }
}
