import type { CustomerSpec, DesiredDocument, TemplateSpec } from "../lib/documents.js";
import type { CustomerRecord, SnapshotInfo, TemplateRecord, TrashRecord, UnitRecord } from "../lib/records.js";
import type { Versioned } from "../state/cluster-state.js";

/** A dataset of this node that bears a unit's name, or that lies in the trash. */
export interface LocalDataset {
  /** Full name, e.g. "hpool/hc/site-wiki". */
  dataset: string;
  mounted: boolean;
  readonly: boolean;
  quotaBytes: string;
  usedBytes: string;
  /** `hybridcluster:*` set here, without the prefix. */
  user: Readonly<Record<string, string>>;
  /** Oldest first; not looked up for what lies in the trash. */
  snapshots: readonly SnapshotInfo[];
}
/** "none": the supervisor knows no service of this unit. */
export type ServiceOutcome = "active" | "failed" | "inactive" | "none";

/** All that the plan for one unit may look at. */
export interface UnitInput {
  id: string;
  record: Versioned<UnitRecord> | undefined;
  document: Versioned<DesiredDocument<"site">> | undefined;
  customer: CustomerRecord | undefined;
  local: LocalDataset | undefined;
  service: ServiceOutcome;
  /** Trash records of this unit, any node. */
  trash: readonly TrashRecord[];
  /** Does the home of the record report a dataset at the record's epoch? */
  homeHolds: boolean;
  /** What `hybridcluster:config` of its dataset shall say (lib/unit-config.ts); undefined = not known now: what stands there stays. */
  config?: string | undefined;
  /** Text of the SiteRun in force in the services, "" when none is known. */
  configured: string;
  /** Text of the SiteRun with which the container was last started by this process, "" when it was not. */
  started: string;
  /** Text of the SiteRun whose ready check passed since that start, "" when none did. */
  checked: string;
}

export interface TemplateInput {
  record: Versioned<TemplateRecord>;
  document: Versioned<DesiredDocument<"template">> | undefined;
  local: LocalDataset | undefined;
}

/** What one round of the agent plans from. Plain data: the same input gives the same steps on every machine. */
export interface NodeInput {
  node: string;
  /** Parent of all datasets, "hpool/hc". */
  dataset: string;
  /** Mount point of the datasets, "/hc". */
  data: string;
  /** `held`: units that may go on although the session is not live (daemon/failsafe). */
  session: { live: boolean; generation: number; held?: readonly string[] };
  /** Does the cluster wait for what its members' disks hold? Default no. */
  recovering?: boolean;
  units: readonly UnitInput[];
  /** Datasets below `<dataset>/trash`, by the last part of their name. */
  trashed: ReadonlyMap<string, LocalDataset>;
  trash: ReadonlyMap<string, Versioned<TrashRecord>>;
  /** `<dataset>/tmpl-<template>` snapshots: "<template>@<version>" → guid. Only finished builds. */
  templates: ReadonlyMap<string, string>;
  /** Templates whose builder is this node. */
  builds: readonly TemplateInput[];
  customers: ReadonlyMap<string, CustomerRecord>;
  /** Users of ours that exist on this node. */
  users: readonly { user: string; uid: number; gid: number }[];
  /** Whole list of SiteRuns in force, as text; "" when none is known. */
  configured: string;
}
export type { CustomerSpec, TemplateSpec };
