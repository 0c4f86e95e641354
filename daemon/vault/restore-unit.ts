import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import type { Agent } from "../agent/agent.js";
import { assertHome } from "../agent/records.js";
import { withDeadline } from "../lib/abort.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { restoreOf, type RestoreState, type UnitRecord } from "../lib/records.js";
import { formatSize } from "../lib/sizes.js";
import { changeUnit, withKept } from "./kept.js";
import { mountedDevice, type RestoreParts, writeGuard } from "./restore-file.js";
import { openStash, stashOfSource } from "./stash-open.js";
import { leftStages, makeStage, removeStage } from "./stage.js";
import { type CopyCount, copyTree } from "./tree-copy.js";

/** Longest wait for the agent to stop the site and mount the unit, ms. */
const stillWithinMs = 120_000;

export interface UnitRestoreParts extends RestoreParts { agent: Agent }

/**
 * Pure: the record with a restore in it. Throws CONFLICT, NOT_READY. From then on the agent keeps the site stopped and the unit mounted.
 */
export function withRestore(record: UnitRecord, restore: Omit<RestoreState, "epoch" | "before">): UnitRecord {
  if (record.state !== "live") throw new HcError("NOT_READY", `${record.unit} is ${record.state}.`, { retry: "never" });
  if (record.move !== undefined) throw new HcError("CONFLICT", `${record.unit} is moving to ${record.move.target}; restore it afterwards.`, { retry: "never" });
  if (restoreOf(record) !== undefined) throw new HcError("CONFLICT", `${record.unit} is being restored already.`, { retry: "never" });
  return { ...record, restore: { ...restore, epoch: record.epoch, before: "" } };
}
/** Pure: the record when it has ended. */
export function restoredRecord(record: UnitRecord, id: string, atMs: number, error: string, detail: string): UnitRecord | undefined {
  const running = record.restore;
  if (running?.id !== id) return undefined;
  const { restore: _restore, ...rest } = record;
  return { ...rest, restored: { id, snapshot: running.snapshot, before: running.before, atMs, error, detail } };
}
/** Errors after which the record, not this process, says what goes on. */
const passing = new Set(["NOT_HOME", "ABORTED", "NO_QUORUM", "TIMEOUT"]);
export const isPassing = (error: unknown): boolean => passing.has(errorCode(error) ?? "");

/**
 * Brings a unit whose record bears a restore to its snapshot: the site stands still → snapshot of the present → the tree is made what the clone of the snapshot is → snapshot → the record without the restore, by which the
 * site starts. Each step can be repeated, so a process that comes after takes it up from the record. What cannot be done is undone by a rollback to that snapshot of the present, the newest one.
 */
export async function driveRestore(parts: UnitRestoreParts, unit: string, restore: RestoreState, signal: AbortSignal): Promise<void> {
  const { context } = parts;
  const began = context.clock.monotonicMs();
  try {
    const count = await carryOut(parts, unit, restore, signal);
    const detail = `${count.copied} of ${count.entries} entries written (${formatSize(count.bytes)}), ${count.removed} removed${count.skipped === 0 ? "" : `, ${count.skipped} devices, sockets or fifos left out`}, in ${Math.round(context.clock.monotonicMs() - began)} ms`;
    await finish(parts, unit, restore, "", detail);
  } catch (error) {
    const before = restoreOf(context.view.current().units.get(unit)?.value)?.before ?? "";
    // a site that cannot be stopped in time goes on as it is; later on the record says what is real
    const notBegun = before === "" && errorCode(error) === "TIMEOUT";
    if (signal.aborted || (isPassing(error) && !notBegun)) throw error;
    context.log.warn({ unit, restore: restore.id, err: error }, "restore failed; the present comes back");
    await undo(parts, unit, before);
    await finish(parts, unit, restore, messageOf(error), "");
  }
}

async function carryOut({ context, replication, clones, agent }: UnitRestoreParts, unit: string, restore: RestoreState, signal: AbortSignal): Promise<CopyCount> {
  const mine = (record: UnitRecord | undefined): RestoreState | undefined => (restoreOf(record)?.id === restore.id ? restoreOf(record) : undefined);
  await withDeadline(stillWithinMs, `stop of ${unit}`, (inner) =>
    agent.untilRound((input) => {
      const seen = input.units.find((item) => item.id === unit);
      if (mine(seen?.record?.value) === undefined || agent.isBusy(unit)) return undefined;
      return seen?.local?.mounted === true && !seen.local.readonly && seen.service !== "active" ? true : undefined;
    }, inner), signal);
  if (restoreOf(assertHome(context, unit))?.before === "") {
    const { name } = await replication.snapshotNow(unit, signal);
    await changeUnit(context, unit, (record) => (mine(record) === undefined ? undefined : withKept({ ...record, restore: { ...(record.restore as RestoreState), before: name } }, name, context.clock.wallMs())), signal);
  }
  // from here on the node makes no snapshots of this unit by itself (replication/start.ts): no half-done state ever goes to a replica
  await replication.snapshotsSettled();
  if (mine(assertHome(context, unit)) === undefined) throw new HcError("NOT_HOME", `${unit}: the restore was ended by somebody else.`);
  const root = await realpath(`${context.host.paths.data}/${unit}`);
  const device = await mountedDevice(context, unit, root);
  const mayWrite = writeGuard(context, unit, root, device, signal);
  const guard = async (): Promise<void> => {
    await mayWrite();
    if (mine(context.view.current().units.get(unit)?.value) === undefined) throw new HcError("NOT_HOME", `${unit}: the restore was ended by somebody else.`);
  };
  const stash = stashOfSource(restore.source);
  const clone = stash === undefined ? await clones.work(restore.source ?? unit, restore.snapshot) : await openStash(context, clones, unit, stash, signal);
  try {
    for (const left of await leftStages(root)) await removeStage(context.runner, left);
    const stage = await makeStage(root, randomBytes(6).toString("hex"));
    const count = await copyTree({ source: clone.path, target: root, attic: stage.attic, guard });
    await removeStage(context.runner, stage.path);
    await guard();
    await replication.snapshotNow(unit, signal);
    return count;
  } finally {
    await clone.close();
  }
}

/** Nothing of the customer's was written after `before`: going back to it loses only what the restore itself had done. */
async function undo({ context }: UnitRestoreParts, unit: string, before: string): Promise<void> {
  if (before === "") return;
  assertHome(context, unit);
  const dataset = `${context.cluster.dataset}/${unit}`;
  const newest = (await context.zfs.snapshots(dataset)).at(-1)?.name;
  if (newest !== before) throw new HcError("CONFLICT", `${unit}: its newest snapshot is ${newest}, not ${before}: the restore is neither done nor undone; a person must look.`, { retry: "never" });
  await context.zfs.rollback(`${dataset}@${before}`);
}

async function finish({ context, agent }: UnitRestoreParts, unit: string, restore: RestoreState, error: string, detail: string): Promise<void> {
  await changeUnit(context, unit, (record) => restoredRecord(record, restore.id, context.clock.wallMs(), error, detail));
  agent.wake();
  context.event(unit, error === "" ? "restored-at" : "restore-failed", error === "" ? `to ${nameOf(restore)}: ${detail}; ${restore.reason}` : `to ${nameOf(restore)}: ${error}; the unit is as it was`);
}

/** Pure. */
export const nameOf = ({ snapshot, source }: Pick<RestoreState, "snapshot" | "source">): string => (source === undefined ? snapshot : `${source}@${snapshot}`);

/** Pure: a restore that an earlier epoch has left in the record. */
export function withoutStaleRestore(record: UnitRecord): UnitRecord | undefined {
  if (record.restore === undefined || restoreOf(record) !== undefined) return undefined;
  const { restore, ...rest } = record;
  return { ...rest, restored: { id: restore.id, snapshot: restore.snapshot, before: restore.before, atMs: 0, error: `its home died or lost the unit while it ran; ${record.home} went on with the present as it was before`, detail: "" } };
}
