import { HcError } from "../lib/errors.js";
import type { SnapshotInfo } from "../lib/records.js";
import { failuresText, validate } from "../lib/schema.js";

/** Version of heads and answers between nodes; a node understands the version before its own (DESIGN invariant 10). */
export const wireVersion = 1;
/**
 * Version of the two messages that streams in parts need: the answer about a unit's snapshots, given only to a home that asks for it (`wire=2`), and the head of a stream, sent only to a replica that answered so.
 * A node of the version before asks for neither and gets neither; all other messages stay as they were.
 */
export const partsVersion = 2;

/** Head of a stream of one snapshot (first frame, see frames.ts). */
export interface StreamHead {
  version: number;
  /** Unit id, or "tmpl-<name>" for a template. */
  unit: string;
  /** Epoch of the sender's record; 0 for templates. */
  epoch: number;
  /** Session generation of the sender; 0 for templates. A copy that was sealed takes streams of a later (epoch, generation) only. */
  generation?: number;
  snapshot: string;
  guid: string;
  /** guid of the incremental source; "" = full. */
  baseGuid: string;
  /** The source is the origin of a clone that the receiver does not have yet. */
  clone: boolean;
  /** User properties of the dataset, without the prefix. */
  properties: Record<string, string>;
  /** guids of older snapshots that are, or may be, the newest of other replicas: the receiver keeps them too. */
  keep: string[];
  /** Version 2: the payload continues what the receiver kept of this very snapshot; absent or false: it begins anew. */
  resume?: boolean;
}
const snapshotName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Pure: may a stream of this snapshot be sent? A snapshot of another tool may have a name that no head takes (`autosnap_2026-11-28_12:00:01_hourly`): it stays on its node, and what it holds goes with the next one of ours. */
export const isSendable = ({ name }: Pick<SnapshotInfo, "name">): boolean => snapshotName.test(name);
const decimal = { type: "string", pattern: "^[0-9]{1,20}$" } as const;
const headSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "unit", "epoch", "snapshot", "guid", "baseGuid", "clone", "properties", "keep"],
  properties: {
    version: { type: "integer", minimum: 1, maximum: partsVersion },
    unit: { type: "string", pattern: "^[a-z][a-z0-9-]{1,40}$" },
    epoch: { type: "integer", minimum: 0 },
    generation: { type: "integer", minimum: 0 },
    snapshot: { type: "string", pattern: snapshotName.source },
    guid: decimal,
    baseGuid: { type: "string", pattern: "^[0-9]{0,20}$" },
    clone: { type: "boolean" },
    properties: { type: "object", maxProperties: 64, propertyNames: { pattern: "^[a-z0-9._-]{1,64}$" }, additionalProperties: { type: "string", maxLength: 8192 } },
    keep: { type: "array", maxItems: 256, items: decimal },
    resume: { type: "boolean" },
  },
} as const;

/** Throws INVALID_INPUT. */
export function readHead(value: unknown): StreamHead {
  const failures = validate(headSchema, value);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `The head of a stream cannot be used: ${failuresText(failures)}`);
  return value as StreamHead;
}

/** Answer to a stream: the receiver holds this snapshot durably. */
export interface StreamAck { version: number; guid: string; snapshot: string }
const ackSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "guid", "snapshot"],
  properties: { version: { type: "integer", minimum: 1, maximum: wireVersion }, guid: decimal, snapshot: { type: "string" } },
} as const;

/** Answer of `GET /peer/v1/units/<id>/snapshots`. */
export interface UnitSnapshots {
  version: number;
  exists: boolean;
  mounted: boolean;
  /** Epoch property of the dataset, 0 when there is none. */
  epoch: number;
  snapshots: SnapshotInfo[];
  holdsOrigin: boolean;
  /** Version 2: streams may come in parts, with a head of version 2. */
  parts?: boolean;
  /** Version 2: what is kept of a cut stream, whose it was, and what continues it. */
  partial?: { guid: string; epoch: number; generation: number; token: string };
}
const snapshotSchema = {
  type: "object",
  additionalProperties: false,
  required: ["name", "guid", "createtxg", "atMs"],
  properties: { name: { type: "string" }, guid: decimal, createtxg: decimal, atMs: { type: "number" } },
} as const;
const snapshotsSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "exists", "mounted", "epoch", "snapshots", "holdsOrigin"],
  properties: {
    version: { type: "integer", minimum: 1, maximum: partsVersion },
    exists: { type: "boolean" },
    mounted: { type: "boolean" },
    epoch: { type: "integer", minimum: 0 },
    snapshots: { type: "array", items: snapshotSchema },
    holdsOrigin: { type: "boolean" },
    parts: { type: "boolean" },
    partial: {
      type: "object",
      additionalProperties: false,
      required: ["guid", "epoch", "generation", "token"],
      properties: { guid: decimal, epoch: { type: "integer", minimum: 0 }, generation: { type: "integer", minimum: 0 }, token: { type: "string", pattern: "^[0-9a-f-]{8,9000}$" } },
    },
  },
} as const;

function answer<T>(schema: object, value: unknown, node: string): T {
  const failures = validate(schema, value);
  if (failures.length > 0) throw new HcError("INTERNAL", `${node} answered what this version cannot read: ${failuresText(failures)}`);
  return value as T;
}
export const readAck = (value: unknown, node: string): StreamAck => answer(ackSchema, value, node);
export const readUnitSnapshots = (value: unknown, node: string): UnitSnapshots => answer(snapshotsSchema, value, node);

/** Body of `POST /peer/v1/units/<id>/seal`: no stream of this owner (epoch, session generation) or an earlier one is taken any more. */
export interface SealRequest { version: number; epoch: number; generation: number }
const sealSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "epoch", "generation"],
  properties: { version: { type: "integer", minimum: 1, maximum: wireVersion }, epoch: { type: "integer", minimum: 1 }, generation: { type: "integer", minimum: 0 } },
} as const;
/** Body of `POST /peer/v1/units/<id>/stash`, sent by the home: the copy holds a history that it does not have. `common`: guid of the newest snapshot that both hold, "" = none. `modified`: its zfs says that it was written to after its newest snapshot, whatever it counts as written. */
export interface StashRequest { version: number; epoch: number; common: string; modified: boolean }
const stashSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "epoch", "common", "modified"],
  properties: { version: { type: "integer", minimum: 1, maximum: wireVersion }, epoch: { type: "integer", minimum: 1 }, common: { type: "string", pattern: "^[0-9]{0,20}$" }, modified: { type: "boolean" } },
} as const;
/** Body of `POST /peer/v1/units/<id>/abandon`, sent by the home to a replica that told of a partial. */
export interface AbandonRequest { version: number; epoch: number }
const abandonSchema = {
  type: "object",
  additionalProperties: false,
  required: ["version", "epoch"],
  properties: { version: { type: "integer", minimum: 1, maximum: partsVersion }, epoch: { type: "integer", minimum: 1 } },
} as const;
function body<T>(schema: object, value: unknown, what: string): T {
  const failures = validate(schema, value);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `${what} cannot be used: ${failuresText(failures)}`);
  return value as T;
}
export const readSeal = (value: unknown): SealRequest => body(sealSchema, value, "A seal");
export const readStash = (value: unknown): StashRequest => body(stashSchema, value, "A request to stash");
export const readAbandon = (value: unknown): AbandonRequest => body(abandonSchema, value, "A request to give up a cut stream");
