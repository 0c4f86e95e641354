import type { SiteRun } from "../services/site-services.js";

/** action → what it is given. Plan and executors meet only here. Every step can be repeated. */
export interface StepTypes {
  /** CAS: homeGeneration = this session's. */
  "take-home": { unit: string };
  /** CAS: an epoch above all of the unit's trash. */
  "raise-epoch": { unit: string; epoch: number };
  "clone-template": { unit: string; snapshot: string; dataset: string; properties: Record<string, string> };
  "set-properties": { unit: string; dataset: string; properties: Record<string, string> };
  /** What a former owner wrote after the snapshot at which the record's epoch starts. */
  "stash-tail": { unit: string; dataset: string };
  "mount-writable": { unit: string; dataset: string };
  /** Initial content and ownership; then the dataset's state is "populated". */
  "populate": { unit: string; dataset: string; root: string; sha256: string; uid: number; gid: number };
  /** First snapshot, then CAS creating → live with its guid. */
  "go-live": { unit: string; dataset: string };
  "start": { unit: string; site: SiteRun };
  "check": { unit: string; site: SiteRun };
  "stop": { unit: string };
  "unmount": { unit: string; dataset: string };
  /** Last snapshot, sends, then one transaction: trash record in, unit record out. */
  "bury": { unit: string; dataset: string };
  /** Removes the record of a unit that never had data. */
  "forget-record": { unit: string };
  "move-to-trash": { unit: string; dataset: string; id: string };
  /** A copy that its record no longer names. */
  "retire": { unit: string; dataset: string };
  "restore-from-trash": { unit: string; from: string; dataset: string };
  /** This node holds nothing of that trash any more. */
  "leave-trash": { id: string };
  "purge": { id: string; dataset: string };
  "ensure-user": { user: string; uid: number; gid: number };
  "remove-user": { user: string };
  /** All sites of this node at once, so that a shared service is reloaded once. */
  "configure": { sites: SiteRun[]; text: string };
  "build-template": { template: string; version: string; recipe: string; settings: Record<string, string>; dataset: string };
  "publish-template": { template: string; version: string; guid: string };
}
export type Action = keyof StepTypes;
export type Step = { [A in Action]: { action: A } & StepTypes[A] }[Action];

/** Steps of one key run one after another; keys run side by side. A key is a unit's id or "node:…", "template:…", "trash:…". */
export interface KeyedSteps { key: string; steps: Step[]; /** Nobody waits for it: it is begun when no site of this node waits to be served (runner.ts). */ later?: boolean }
/** Why nothing (more) is done for a unit now. */
export interface Note { severity: "waiting" | "error"; text: string }
export interface NodePlan { work: KeyedSteps[]; notes: Map<string, Note>; /** Sites that the services of this node shall know. */ sites: SiteRun[] }
