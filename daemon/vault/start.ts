import { randomBytes } from "node:crypto";
import { sleepUntilTick } from "../lib/clock.js";
import type { Agent } from "../agent/agent.js";
import { assertHome } from "../agent/records.js";
import type { NodeContext, Running } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { restoreOf, type UnitRecord } from "../lib/records.js";
import type { Sampled } from "../parts.js";
import type { Replication } from "../replication/replication.js";
import { Locks } from "../lib/locks.js";
import { agreedMs } from "../state/agreed-time.js";
import type { ClusterState } from "../state/cluster-state.js";
import { type BrowseInfo, VaultClones } from "./clones.js";
import { chooseSnapshot, madeMs, type VaultSnapshot } from "./choose-snapshot.js";
import { chooseOfOther } from "./choose-source.js";
import { changeUnit } from "./kept.js";
import { type FileRestored, restoreFile } from "./restore-file.js";
import { driveRestore, isPassing, nameOf, withoutStaleRestore, withRestore } from "./restore-unit.js";
import { groupedAs, withoutExpired } from "./groups.js";
import { groupRoutes } from "./group-routes.js";
import { vaultRoutes } from "./routes.js";
import { stashDeskRoutes } from "./stash-desk-routes.js";
import { chosenStash, openStash, stashOfSource } from "./stash-open.js";
import { leftStages, removeStage } from "./stage.js";

/** Between two looks at what expired and what was left, ms. */
const roundMs = 5_000;
/** Rest of a restore that failed in a way which may pass, ms. */
const restMs = 10_000;
/** Whole units restored at once on one node, and restores of files. */
const maxRestores = 4;

export interface VaultOptions { replication: Replication; agent: Agent }
export interface VaultAnswer { unit: string; home: string; snapshots: { name: string; guid: string; madeMs: number; /** Name of the group snapshot that it is part of, "" = none. */ group: string }[] }
export interface UnitOrder { id: string; unit: string; node: string; snapshot: string; madeMs: number }
export interface FileAnswer extends FileRestored { unit: string; node: string; snapshot: string; madeMs: number }
/** Where a restore takes its content: a time of the unit, or of another unit (`source`) of the same customer of which the home holds a copy; or what lies in a stash. */
export type Origin = { at: string; source?: string } | { stash: string };
interface Chosen { snapshot: VaultSnapshot; source?: string }
/** What the home of a unit does. */
export interface VaultHome {
  list(unit: string): Promise<VaultAnswer>;
  restoreUnit(unit: string, origin: Origin, reason: string): Promise<UnitOrder>;
  restoreFile(unit: string, origin: Origin, path: unknown, reason: string): Promise<FileAnswer>;
  /** What a restore to `at` would take. */
  choose(unit: string, at: string): Promise<{ snapshot: string; madeMs: number }>;
  browse(unit: string, at: string, forMs: number): Promise<BrowseInfo & { madeMs: number }>;
  browses(): Promise<BrowseInfo[]>;
  close(id: string): Promise<void>;
}

/** The Data Vault of the units at home on this node: registers routes, takes up restores that a process before has left, tidies clones. */
export async function startVault(context: NodeContext, options: VaultOptions): Promise<Running & Sampled> {
  const { clock, log } = context;
  const node = context.cluster.node;
  const stopping = new AbortController();
  const signal = AbortSignal.any([context.signal, stopping.signal]);
  const clones = new VaultClones(context);
  const parts = { context, clones, ...options };
  const locks = new Locks();
  /** unit → the restore of the whole that this process drives. */
  const driven = new Map<string, Promise<void>>();
  const restUntil = new Map<string, number>();
  let files = 0;
  /** unit → the session in which its root was looked through for stages that a crash has left. */
  const searched = new Map<string, string>();

  async function chosen(unit: string, at: string): Promise<VaultSnapshot> {
    const record = assertHome(context, unit);
    return chooseSnapshot(unit, await context.zfs.snapshots(`${context.cluster.dataset}/${unit}`), groupedAs(record, at), clock.wallMs());
  }
  async function chosenFrom(unit: string, origin: Origin): Promise<Chosen> {
    assertHome(context, unit);
    if ("stash" in origin) return chosenStash(context, unit, origin.stash);
    return origin.source === undefined ? { snapshot: await chosen(unit, origin.at) } : { snapshot: await chooseOfOther(context, unit, origin.source, origin.at), source: origin.source };
  }
  const home: VaultHome = {
    async list(unit) {
      const record = context.view.current().units.get(unit)?.value;
      if (record?.home !== node) throw new HcError("NOT_HOME", `${unit} is not at home on ${node}.`);
      const snapshots = await context.zfs.snapshots(`${context.cluster.dataset}/${unit}`);
      return { unit, home: node, snapshots: snapshots.map((snapshot) => ({ name: snapshot.name, guid: snapshot.guid, madeMs: madeMs(snapshot), group: record.groups?.find((group) => group.snapshot === snapshot.name)?.name ?? "" })) };
    },
    async choose(unit, at) {
      const snapshot = await chosen(unit, at);
      return { snapshot: snapshot.name, madeMs: snapshot.madeMs };
    },
    async restoreUnit(unit, origin, reason) {
      if (driven.size >= maxRestores) throw new HcError("LIMIT_EXCEEDED", `${maxRestores} units are being restored on ${node} already.`, { retry: "never" });
      return await locks.run(unit, async () => {
        const { snapshot, source } = await chosenFrom(unit, origin);
        const id = randomBytes(8).toString("hex");
        const wish = { id, snapshot: snapshot.name, ...(source === undefined ? {} : { source }), reason };
        await changeUnit(context, unit, (record) => withRestore(ours(record, node), wish), signal);
        context.event(unit, "restoring", `to ${nameOf(wish)}; ${reason}`);
        adopt();
        return { id, unit, node, snapshot: snapshot.name, madeMs: snapshot.madeMs };
      });
    },
    async restoreFile(unit, origin, path, reason) {
      if (files >= maxRestores) throw new HcError("LIMIT_EXCEEDED", `${maxRestores} restores of files run on ${node} already.`);
      files += 1;
      try {
        return await locks.run(unit, async () => {
          const { snapshot, source } = await chosenFrom(unit, origin);
          const stash = stashOfSource(source);
          const done = await restoreFile(parts, unit, snapshot, path, signal, stash === undefined ? undefined : () => openStash(context, clones, unit, stash, signal));
          context.event(unit, "file-restored", `${done.path} to ${stash ?? snapshot.name}; the present before is ${done.before}; ${reason}`);
          return { ...done, unit, node, snapshot: snapshot.name, madeMs: snapshot.madeMs };
        });
      } finally {
        files -= 1;
        searched.delete(unit); // where a quota is used up, removing may only succeed later
      }
    },
    async browse(unit, at, forMs) {
      const snapshot = await chosen(unit, at);
      const made = await clones.browse(unit, snapshot.name, forMs);
      context.event(unit, "browsed", `${snapshot.name} on ${node} as ${made.id} until ${new Date(made.expiresAtMs).toISOString()}`);
      return { ...made, madeMs: snapshot.madeMs };
    },
    browses: () => clones.list(),
    close: (id) => clones.close(id),
  };

  /** Restores that stand in records of this home and are driven by nobody here: just ordered, or left by a process before. */
  function adopt(): void {
    if (signal.aborted || !context.session.isLive()) return;
    for (const { value: record } of context.view.current().units.values()) {
      const { unit } = record;
      const restore = restoreOf(record);
      if (record.home !== node || record.state !== "live" || restore === undefined || driven.has(unit) || driven.size >= maxRestores || (restUntil.get(unit) ?? 0) > clock.monotonicMs()) continue;
      options.agent.wake();
      const run = locks.run(unit, () => driveRestore(parts, unit, restore, signal))
        .catch((error: unknown) => {
          restUntil.set(unit, clock.monotonicMs() + restMs);
          if (!signal.aborted) log[isPassing(error) ? "info" : "error"]({ unit, restore: restore.id, reason: messageOf(error) }, "restore is tried again later");
        })
        .finally(() => {
          driven.delete(unit);
          searched.delete(unit);
        });
      driven.set(unit, run);
    }
  }
  async function tidy(): Promise<void> {
    await clones.sweep();
    if (!context.session.isLive()) return;
    const mine = [...context.view.current().units.values()].map(({ value }) => value).filter((record) => record.home === node && record.state === "live" && record.homeGeneration === context.session.generation);
    for (const unit of searched.keys()) if (!mine.some((record) => record.unit === unit)) searched.delete(unit);
    for (const record of mine) {
      if (withoutStaleRestore(record) !== undefined) await changeUnit(context, record.unit, withoutStaleRestore, signal);
      const expire = (one: UnitRecord): UnitRecord | undefined => withoutExpired(one, agreedMs(context.view.current(), clock.wallMs()));
      if (expire(record) !== undefined) await changeUnit(context, record.unit, expire, signal);
    }
    await clearStages(mine);
  }
  /** Once a unit and session, and after each restore. */
  async function clearStages(records: readonly UnitRecord[]): Promise<void> {
    const session = ({ epoch, homeGeneration }: UnitRecord): string => `${epoch}/${homeGeneration}`;
    const due = records.filter((record) => searched.get(record.unit) !== session(record) && !driven.has(record.unit) && restoreOf(record) === undefined);
    if (due.length === 0) return;
    const mounted = await context.zfs.mounted();
    for (const record of due) {
      const { unit } = record;
      if (!mounted.has(`${context.cluster.dataset}/${unit}`)) continue;
      try {
        await locks.run(unit, async () => {
          assertHome(context, unit);
          for (const stage of await leftStages(`${context.host.paths.data}/${unit}`)) await removeStage(context.runner, stage);
        });
        searched.set(unit, session(record));
      } catch (error) {
        log.warn({ unit, reason: messageOf(error) }, "what a restore has left could not be removed; tried again");
      }
    }
  }

  if (context.cluster.dataset !== "") {
    vaultRoutes(context, home);
    groupRoutes(context, options.replication, home);
    stashDeskRoutes(context, clones);
  }
  let units: ClusterState["units"] | undefined;
  const endWatch = context.view.onChange((state) => {
    if (state.units === units) return;
    units = state.units;
    adopt();
  });
  const loop = (async () => {
    while (!signal.aborted) {
      try {
        adopt();
        await tidy();
      } catch (error) {
        if (!signal.aborted && errorCode(error) !== "NOT_READY") log.warn({ reason: messageOf(error) }, "round of the vault failed");
      }
      await sleepUntilTick(clock, roundMs, signal);
    }
  })();
  return {
    metrics: () => [{ name: "hc_vault_restores_running", labels: {}, value: driven.size + files }, { name: "hc_vault_restores_limit", labels: {}, value: maxRestores }],
    async stop() {
      stopping.abort();
      endWatch();
      await Promise.allSettled([...driven.values(), loop]);
    },
  };
}

function ours(record: UnitRecord, node: string): UnitRecord {
  if (record.home !== node) throw new HcError("NOT_HOME", `${record.unit} is at home on ${record.home}.`, { retry: "never", context: { home: record.home } });
  return record;
}
