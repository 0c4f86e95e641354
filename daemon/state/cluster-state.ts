import type { DesiredDocument, Kind } from "../lib/documents.js";
import type { AlertRecord, CertificateRecord, ChallengeRecord, CustomerRecord, DrainRecord, FenceRecord, LeaderRecord, NodeRecord, ObservedNode, ObservedUnit, RecoveryRecord, RemovalRecord, SessionRecord, TemplateRecord, TicketRecord, TrashRecord, UnitRecord, VotersRecord } from "../lib/records.js";

export interface Versioned<T> { value: T; revision: string }

/** The whole picture at one revision of etcd: what planners are given. Never changed in place. */
export interface ClusterState {
  revision: string;
  desired: ReadonlyMap<string, Versioned<DesiredDocument>>; // "<kind>/<name>"
  units: ReadonlyMap<string, Versioned<UnitRecord>>;
  sessions: ReadonlyMap<string, Versioned<SessionRecord>>;
  nodes: ReadonlyMap<string, Versioned<NodeRecord>>;
  observedNodes: ReadonlyMap<string, ObservedNode>;
  /** node → unit id → what it holds. */
  observedUnits: ReadonlyMap<string, ReadonlyMap<string, ObservedUnit>>;
  customers: ReadonlyMap<string, Versioned<CustomerRecord>>;
  /** "<name>/<version>" */
  templates: ReadonlyMap<string, Versioned<TemplateRecord>>;
  trash: ReadonlyMap<string, Versioned<TrashRecord>>;
  leader: Versioned<LeaderRecord> | undefined;
  /** How etcd last broke with its own past; undefined = never. */
  recovery?: Versioned<RecoveryRecord> | undefined;
  /** Nodes that are being emptied. */
  drains?: ReadonlyMap<string, Versioned<DrainRecord>>;
  /** Nodes that are fenced by a person. */
  fences?: ReadonlyMap<string, Versioned<FenceRecord>>;
  /** Nodes on their way out of the cluster. */
  removals?: ReadonlyMap<string, Versioned<RemovalRecord>>;
  /** Seats in etcd that were given to other nodes. */
  voters?: Versioned<VotersRecord> | undefined;
  /** What people are told, and were. */
  alerts?: ReadonlyMap<string, Versioned<AlertRecord>>;
  /** By ACME: host name → certificate; token → what is answered. */
  certificates?: ReadonlyMap<string, Versioned<CertificateRecord>>;
  challenges?: ReadonlyMap<string, Versioned<ChallengeRecord>>;
  /** Of TLS sessions. */
  tickets?: Versioned<TicketRecord> | undefined;
}

/** Is this node kept out by a person's word? The leader's own fence (placement/plan-relief.ts) is a fault as any other. */
export const fencedByPerson = ({ fences }: Pick<ClusterState, "fences">, node: string): boolean => {
  const order = fences?.get(node)?.value;
  return order !== undefined && order.auto !== true;
};

export function desiredOf<K extends Kind>(state: ClusterState, kind: K, name: string): Versioned<DesiredDocument<K>> | undefined {
  return state.desired.get(`${kind}/${name}`) as Versioned<DesiredDocument<K>> | undefined;
}

/** A cached, watched ClusterState. */
export interface View {
  /** Throws NOT_READY before the first full read. */
  current(): ClusterState;
  /** Called after each change, coalesced to at most one call a turn of the event loop. Returns a function that ends it. */
  onChange(listener: (state: ClusterState) => void): () => void;
}

/** Does the cluster wait for what its members' disks hold (daemon/recovery)? */
/** Is the picture older than the own election (its guard)? It shows what is over then, and nothing is planned from it. */
export const precedes = ({ revision }: Pick<ClusterState, "revision">, guard: { modRevision: string }): boolean => BigInt(revision) < BigInt(guard.modRevision);
export const isRecovering = (state: Pick<ClusterState, "recovery">): boolean => state.recovery?.value.state === "recovering";
