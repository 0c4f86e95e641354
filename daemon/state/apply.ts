import { type DesiredDocument, documentVersion } from "../lib/documents.js";
import { type AlertRecord, type CertificateRecord, type ChallengeRecord, type CustomerRecord, type DrainRecord, type FenceRecord, type LeaderRecord, type NodeRecord, type ObservedNode, type ObservedUnit, type ObservedUnits, recordVersion, type RecoveryRecord, type RemovalRecord, type SessionRecord, type TemplateRecord, type TicketRecord, type TrashRecord, type UnitRecord, type VotersRecord } from "../lib/records.js";
import type { ClusterState, Versioned } from "./cluster-state.js";

export interface Change { key: string; /** undefined = deleted */ value: string | undefined; modRevision: string }

/** The maps behind a ClusterState; replaced, never changed, once handed out. */
interface Maps {
  desired: Map<string, Versioned<DesiredDocument>>;
  units: Map<string, Versioned<UnitRecord>>;
  sessions: Map<string, Versioned<SessionRecord>>;
  nodes: Map<string, Versioned<NodeRecord>>;
  observedNodes: Map<string, ObservedNode>;
  observedUnits: Map<string, Map<string, ObservedUnit>>;
  customers: Map<string, Versioned<CustomerRecord>>;
  templates: Map<string, Versioned<TemplateRecord>>;
  trash: Map<string, Versioned<TrashRecord>>;
  drains: Map<string, Versioned<DrainRecord>>;
  fences: Map<string, Versioned<FenceRecord>>;
  removals: Map<string, Versioned<RemovalRecord>>;
  alerts: Map<string, Versioned<AlertRecord>>;
  certificates: Map<string, Versioned<CertificateRecord>>;
  challenges: Map<string, Versioned<ChallengeRecord>>;
}
type Shards = ReadonlyMap<string, ReadonlyMap<number, Record<string, ObservedUnit>>>;
export interface Picture { state: ClusterState; shards: Shards }

export const emptyPicture: Picture = {
  state: { revision: "0", desired: new Map(), units: new Map(), sessions: new Map(), nodes: new Map(), observedNodes: new Map(), observedUnits: new Map(), customers: new Map(), templates: new Map(), trash: new Map(), drains: new Map(), fences: new Map(), removals: new Map(), alerts: new Map(), certificates: new Map(), challenges: new Map(), leader: undefined, voters: undefined, recovery: undefined, tickets: undefined },
  shards: new Map(),
};

/** Neighbouring versions live together (DESIGN invariant 10): this one and the one before are read, later ones are left out and reported. */
function parse<T extends { version: number }>(text: string, newest: number): T | undefined {
  try {
    const value = JSON.parse(text) as T;
    return typeof value?.version === "number" && value.version >= newest - 1 && value.version <= newest ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Pure: the next picture after a batch of changes. Copies only the maps that change. `unreadable` names keys whose value
 * cannot be understood (they count as absent); `quiet` is true when nothing but heartbeats of known generations changed.
 */
export function applyChanges(before: Picture, changes: readonly Change[], revision: string): { picture: Picture; quiet: boolean; unreadable: string[]; sessions: string[] } {
  const copied = new Set<keyof Maps>();
  const next = { ...before.state, revision } as Omit<ClusterState, keyof Maps> & Maps;
  const map = <K extends keyof Maps>(name: K): Maps[K] => {
    if (!copied.has(name)) {
      copied.add(name);
      (next as unknown as Record<string, unknown>)[name] = new Map(before.state[name] as ReadonlyMap<string, unknown>);
    }
    return next[name];
  };
  const unreadable: string[] = [];
  const sessions: string[] = [];
  const shards = new Map(before.shards);
  const touched = new Set<string>();
  let leader = before.state.leader;
  let voters = before.state.voters;
  let recovery = before.state.recovery;
  let tickets = before.state.tickets;
  let quiet = true;
  for (const change of changes) {
    const [, , family = "", a = "", b = "", c = ""] = change.key.split("/");
    const read = <T extends { version: number }>(newest = recordVersion): T | undefined => {
      if (change.value === undefined) return undefined;
      const value = parse<T>(change.value, newest);
      if (value === undefined) unreadable.push(change.key);
      return value;
    };
    const keep = <T extends { version: number }>(target: Map<string, Versioned<T>>, key: string, value: T | undefined): void => {
      if (value === undefined) target.delete(key);
      else target.set(key, { value, revision: change.modRevision });
    };
    if (family === "session") {
      const value = read<SessionRecord>();
      const old = map("sessions").get(a)?.value;
      if (value?.generation !== old?.generation || value?.dead !== old?.dead) quiet = false;
      keep(map("sessions"), a, value);
      sessions.push(a);
      continue;
    }
    if (family === "event" || family === "lock") continue;
    quiet = false;
    switch (family) {
      case "desired": keep(map("desired"), `${a}/${b}`, read<DesiredDocument>(documentVersion)); break;
      case "unit": keep(map("units"), a, read<UnitRecord>()); break;
      case "node": keep(map("nodes"), a, read<NodeRecord>()); break;
      case "customer": keep(map("customers"), a, read<CustomerRecord>()); break;
      case "template": keep(map("templates"), `${a}/${b}`, read<TemplateRecord>()); break;
      case "trash": keep(map("trash"), a, read<TrashRecord>()); break;
      case "drain": keep(map("drains"), a, read<DrainRecord>()); break;
      case "alert": keep(map("alerts"), a, read<AlertRecord>()); break;
      case "certificate": keep(map("certificates"), a, read<CertificateRecord>()); break;
      case "acme-challenge": keep(map("challenges"), a, read<ChallengeRecord>()); break;
      case "recovery": {
        const value = read<RecoveryRecord>();
        recovery = value === undefined ? undefined : { value, revision: change.modRevision };
        break;
      }
      case "tls-tickets": {
        const value = read<TicketRecord>();
        tickets = value === undefined ? undefined : { value, revision: change.modRevision };
        break;
      }
      case "fence": keep(map("fences"), a, read<FenceRecord>()); break;
      case "removed": keep(map("removals"), a, read<RemovalRecord>()); break;
      case "voters": {
        const value = read<VotersRecord>();
        voters = value === undefined ? undefined : { value, revision: change.modRevision };
        break;
      }
      case "leader": {
        const value = read<LeaderRecord>();
        leader = value === undefined ? undefined : { value, revision: change.modRevision };
        break;
      }
      case "observed":
        if (b === "node") {
          const value = read<ObservedNode>();
          if (value === undefined) map("observedNodes").delete(a);
          else map("observedNodes").set(a, value);
        } else if (b === "units") {
          const mine = new Map(shards.get(a) ?? []);
          const value = read<ObservedUnits>();
          if (value === undefined) mine.delete(Number(c));
          else mine.set(Number(c), value.units);
          shards.set(a, mine);
          touched.add(a);
        }
        break;
      default: break; // a newer neighbour's keys
    }
  }
  for (const node of touched) {
    const merged = new Map<string, ObservedUnit>();
    for (const units of (shards.get(node) ?? new Map<number, Record<string, ObservedUnit>>()).values()) for (const [id, unit] of Object.entries(units)) merged.set(id, unit);
    map("observedUnits").set(node, merged);
  }
  return { picture: { state: { ...next, leader, recovery, voters, tickets }, shards }, quiet, unreadable, sessions };
}
