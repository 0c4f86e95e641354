import { randomBytes } from "node:crypto";
import { realpath } from "node:fs/promises";
import type { Agent } from "../agent/agent.js";
import { assertHome } from "../agent/records.js";
import { withDeadline } from "../lib/abort.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { hasStaleRestore, restoreOf, type RestoreState, type UnitRecord } from "../lib/records.js";
import { formatSize } from "../lib/sizes.js";
import { changeUnit, withKept } from "./kept.js";
import type { Opened } from "./clones.js";
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

/** The restore as the record has it now; undefined when it was ended by somebody. */
function running({ context }: UnitRestoreParts, unit: string, id: string): RestoreState | undefined {
  const restore = restoreOf(context.view.current().units.get(unit)?.value);
  return restore?.id === id ? restore : undefined;
}
function change({ context }: UnitRestoreParts, unit: string, id: string, state: Partial<RestoreState>, signal: AbortSignal): Promise<UnitRecord | undefined> {
  return changeUnit(context, unit, (record) => {
    const restore = restoreOf(record);
    if (restore?.id !== id) return undefined;
    const next = { ...record, restore: { ...restore, ...state } };
    return state.before === undefined ? next : withKept(next, state.before, context.clock.wallMs());
  }, signal);
}

/**
 * Brings a unit whose record bears a restore to its snapshot: the site stands still → snapshot of the present → the tree is made what the clone of the snapshot is → snapshot → the record without the restore, by which the
 * site starts. Each step can be repeated, so a process that comes after takes it up from the record. What cannot be done is undone by a rollback to that snapshot of the present, the newest one.
 */
export async function driveRestore(parts: UnitRestoreParts, unit: string, restore: RestoreState, signal: AbortSignal): Promise<void> {
  const { context } = parts;
  const began = context.clock.monotonicMs();
  let failed = running(parts, unit, restore.id)?.failed ?? "";
  let detail = "taken up when all was copied";
  try {
    if (failed === "" && !(await hasEnded(parts, unit, restore.id))) {
      const count = await carryOut(parts, unit, restore, signal);
      detail = `${count.copied} of ${count.entries} entries written (${formatSize(count.bytes)}), ${count.removed} removed${count.skipped === 0 ? "" : `, ${count.skipped} devices, sockets or fifos left out`}, in ${Math.round(context.clock.monotonicMs() - began)} ms`;
    }
  } catch (error) {
    const before = running(parts, unit, restore.id)?.before ?? "";
    // a site that cannot be stopped in time goes on as it is; later on the record says what is real
    const notBegun = before === "" && errorCode(error) === "TIMEOUT";
    if (signal.aborted || (isPassing(error) && !notBegun)) throw error;
    if (!(await hasEnded(parts, unit, restore.id))) failed = messageOf(error);
    context.log.warn({ unit, restore: restore.id, err: error }, failed === "" ? "an error after all was restored" : "restore failed; the present comes back");
  }
  if (failed !== "") await undo(parts, unit, restore, failed, signal);
  await finish(parts, unit, restore, failed, failed === "" ? detail : "");
}

/** Was all copied, also by a process before? Its last snapshot says so, which only then was made. */
async function hasEnded(parts: UnitRestoreParts, unit: string, id: string): Promise<boolean> {
  const after = running(parts, unit, id)?.after;
  if (after === undefined) return false;
  const { context } = parts;
  return (await context.zfs.snapshots(`${context.cluster.dataset}/${unit}`)).some(({ name }) => name === after);
}

/** Resolves when the site stands still and the unit is mounted writable. */
async function standsStill(parts: UnitRestoreParts, unit: string, id: string, signal: AbortSignal): Promise<void> {
  const { agent } = parts;
  await withDeadline(stillWithinMs, `stop of ${unit}`, (inner) =>
    agent.untilRound((input) => {
      const seen = input.units.find((item) => item.id === unit);
      if (restoreOf(seen?.record?.value)?.id !== id || agent.isBusy(unit)) return undefined;
      return seen?.local?.mounted === true && !seen.local.readonly && seen.service !== "active" ? true : undefined;
    }, inner), signal);
}

async function carryOut(parts: UnitRestoreParts, unit: string, restore: RestoreState, signal: AbortSignal): Promise<CopyCount> {
  const { context, replication, clones } = parts;
  await standsStill(parts, unit, restore.id, signal);
  if (restoreOf(assertHome(context, unit))?.before === "") {
    // the round that runs may have begun before the restore was ordered; no later one makes a snapshot of this unit (replication/snapshotter.ts)
    await replication.snapshotsSettled();
    const { name } = await replication.snapshotNow(unit, signal);
    await change(parts, unit, restore.id, { before: name }, signal);
  }
  // no half-done state ever goes to a replica
  await replication.snapshotsSettled();
  const stash = stashOfSource(restore.source);
  const { count, guard } = await bring(parts, unit, restore.id, () => (stash === undefined ? clones.work(restore.source ?? unit, restore.snapshot) : openStash(context, clones, unit, stash, signal)), signal);
  const after = replication.snapshotName(unit);
  await change(parts, unit, restore.id, { after }, signal);
  await guard();
  await replication.snapshotTogether([{ unit, name: after }]);
  return count;
}

/** Makes the unit's tree what `open` opens. `guard`: throws when nothing may be done any more. */
async function bring(parts: UnitRestoreParts, unit: string, id: string, open: () => Promise<Opened>, signal: AbortSignal): Promise<{ count: CopyCount; guard: () => Promise<void> }> {
  const { context } = parts;
  const assertRunning = (): void => {
    if (running(parts, unit, id) === undefined) throw new HcError("NOT_HOME", `${unit}: the restore was ended by somebody else.`);
  };
  assertHome(context, unit);
  assertRunning();
  const root = await realpath(`${context.host.paths.data}/${unit}`);
  const device = await mountedDevice(context, unit, root);
  const mayWrite = writeGuard(context, unit, root, device, signal);
  const guard = async (): Promise<void> => {
    await mayWrite();
    assertRunning();
  };
  const clone = await open();
  try {
    for (const left of await leftStages(root)) await removeStage(context.runner, left);
    const stage = await makeStage(root, randomBytes(6).toString("hex"));
    const count = await copyTree({ source: clone.path, target: root, attic: stage.attic, guard });
    await removeStage(context.runner, stage.path);
    await guard();
    return { count, guard };
  } finally {
    await clone.close();
  }
}

/**
 * Nothing of the customer's was written after `before`: going back to it loses only what the restore itself had done. Where a snapshot stands after it all the same (a person's), a rollback would destroy that one: then
 * the present is copied back out of `before`, as it went away. The record says that first: a process that comes after goes on with this, and not with the restore. While that cannot be done either (no room) the site stays
 * stopped and the unit is shown as failed (api/status.ts, agent/plan-unit.ts): half of one state and half of the other must not run, least of all a database, and what it then wrote would be lost by the way back.
 */
async function undo(parts: UnitRestoreParts, unit: string, { id }: RestoreState, failed: string, signal: AbortSignal): Promise<void> {
  const { context, clones } = parts;
  const before = running(parts, unit, id)?.before ?? "";
  if (before === "") return;
  assertHome(context, unit);
  const dataset = `${context.cluster.dataset}/${unit}`;
  const newest = (await context.zfs.snapshots(dataset)).at(-1)?.name;
  if (newest === before) return context.zfs.rollback(`${dataset}@${before}`);
  if (running(parts, unit, id)?.failed === undefined) {
    await change(parts, unit, id, { failed }, signal);
    context.event(unit, "restore-stuck", `${failed}; ${newest} was made after ${before}, which holds the present: that is copied back`);
  }
  await standsStill(parts, unit, id, signal);
  await bring(parts, unit, id, () => clones.work(unit, before), signal);
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
  const { restore, ...rest } = record;
  if (restore === undefined || !hasStaleRestore(record)) return undefined;
  return { ...rest, restored: { id: restore.id, snapshot: restore.snapshot, before: restore.before, atMs: 0, error: `its home died or lost the unit while it ran; ${record.home} went on with the present as it was before`, detail: "" } };
}
