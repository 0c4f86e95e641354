/** What the engine says and takes; a resource's record is exactly what lies in the state file (PULUMI's checkpoint, version 3). */
export type OperationKind = "up" | "preview" | "refresh" | "destroy";
export type StepOp = "same" | "create" | "update" | "replace" | "delete" | "refresh" | "read" | "discard";
/** JSON value; secrets are `{4dab…: 1b47…, value}`, unknowns the sentinel string (values.ts). */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value };
export type Properties = Record<string, Value>;

/** One resource as it lies in the state; fields of the CLI that the engine does not use are kept as they are. */
export interface ResourceRecord {
  urn: string;
  custom: boolean;
  /** a replaced or dropped one that waits for its deletion */
  delete?: boolean;
  id?: string;
  type: string;
  inputs?: Properties;
  outputs?: Properties;
  parent?: string;
  protect?: boolean;
  external?: boolean;
  dependencies?: string[];
  initErrors?: string[];
  provider?: string;
  propertyDependencies?: Record<string, string[]>;
  /** deleted before its replacement, which was not made yet */
  pendingReplacement?: boolean;
  additionalSecretOutputs?: string[];
  aliases?: string[];
  retainOnDelete?: boolean;
  deletedWith?: string;
  replaceWith?: string[];
  ignoreChanges?: string[];
  replaceOnChanges?: string[];
  created?: string;
  modified?: string;
  [other: string]: unknown;
}

export interface PendingOperation {
  resource: ResourceRecord;
  type: "creating" | "updating" | "deleting" | "reading" | "importing";
}

/** `key` is a property path; `old`/`new` have secrets already replaced by "[secret]". */
export interface PropertyDiff {
  key: string;
  kind: "add" | "update" | "delete";
  old?: Value;
  new?: Value;
  forcesReplacement: boolean;
}

export interface PlannedStep {
  urn: string;
  type: string;
  name: string;
  op: StepOp;
  parent?: string;
  diff: PropertyDiff[];
  oldInputs?: Properties;
  newInputs?: Properties;
  /** refresh found the resource, or this step repairs a half-made one, …: a word for people */
  note?: string;
}

export interface Changes {
  create: number;
  update: number;
  replace: number;
  delete: number;
  same: number;
}

export type Severity = "info" | "warning" | "error";
export type EngineEvent =
  | { type: "phase"; phase: "preview" | "update" | "refresh" | "destroy"; atMs: number }
  | { type: "step-start"; step: PlannedStep; preview: boolean; atMs: number }
  | { type: "step-end"; step: PlannedStep; preview: boolean; ok: boolean; error?: string; durationMs: number; atMs: number }
  | { type: "outputs"; outputs: Properties; diff: PropertyDiff[]; preview: boolean; atMs: number }
  /** said by the program, the provider process or the engine itself */
  | { type: "message"; severity: Severity; from: "program" | "provider" | "engine"; text: string; urn?: string; ephemeral?: boolean; atMs: number }
  | { type: "phase-end"; phase: "preview" | "update" | "refresh" | "destroy"; changes: Changes; ok: boolean; atMs: number };

export interface OperationOptions {
  kind: OperationKind;
  projectRoot: string;
  /** absolute path of `main`, compiled JavaScript */
  program: string;
  project: string;
  stack: string;
  workspace: string;
  configOverrides?: Record<string, string>;
  /** running steps at a time; default 4 × CPUs */
  parallel?: number;
  events?: (event: EngineEvent) => void;
  /** called with the plan before anything is changed; throws to stop */
  beforeApply?: (plan: PlannedStep[]) => Promise<void>;
  /** first abort: no new steps, running ones finish */
  signal?: AbortSignal;
  /** give up: running steps are left to themselves */
  hardSignal?: AbortSignal;
  env?: NodeJS.ProcessEnv;
}

export interface OperationResult {
  result: "succeeded" | "failed" | "cancelled";
  changes: Changes;
  outputs: Record<string, unknown>;
  diagnostics: string[];
  /** the error's code of daemon/lib/errors.ts where there was one: DELETE_GUARD, LOCKED, … */
  code?: string;
}
