import type { NodeContext } from "../context.js";
import { withDeadline } from "../lib/abort.js";
import { until } from "../lib/backoff.js";
import { HcError } from "../lib/errors.js";
import { keys, type UnitRecord } from "../lib/records.js";
import { zfsFailure } from "../zfs/errors.js";
import { parseSnapshotName } from "../zfs/snapshot-name.js";
import type { Executors } from "./executors.js";
import { assertMountpoint, putAside } from "./mountpoint.js";
import { property } from "./names.js";
import { assertHome, assertLive, changeRecord, untilSeen } from "./records.js";
import { siteText } from "./site-run.js";
import { type AgentTools, closeGate } from "./tools.js";

/** How long one check step looks for an answer before it gives the round back, ms. */
const checkWithinMs = 3_000;
/** Longest wait of a stop for the workers' line, ms: a matter of milliseconds where all is well. */
const closingMs = 500;

/** Template, version and guid of the snapshot that a dataset is a clone of; undefined for one that is none. */
async function cloneOrigin({ zfs, cluster }: Pick<NodeContext, "zfs" | "cluster">, dataset: string): Promise<UnitRecord["origin"] | undefined> {
  const origin = (await zfs.dataset(dataset))?.origin ?? "";
  const prefix = `${cluster.dataset}/tmpl-`;
  const at = origin.indexOf("@");
  if (!origin.startsWith(prefix) || at < 0) return undefined;
  const version = origin.slice(at + 1);
  const snapshot = (await zfs.snapshots(origin.slice(0, at))).find((item) => item.name === version);
  return snapshot === undefined ? undefined : { template: origin.slice(prefix.length, at), version, guid: snapshot.guid };
}

type UnitActions = "take-home" | "raise-epoch" | "clone-template" | "set-properties" | "stash-tail" | "mount-writable" | "populate" | "go-live" | "start" | "check" | "stop" | "unmount" | "forget-record";

export const executeUnit: Pick<Executors, UnitActions> = {
  async "take-home"({ context }, { unit }) {
    const { node } = context.cluster;
    const { generation } = context.session;
    await changeRecord(context, unit, (record) => {
      if (record.home !== node) throw new HcError("NOT_HOME", `${unit} is at home on ${record.home}.`);
      return record.homeGeneration === generation ? undefined : { ...record, homeGeneration: generation };
    });
  },
  async "raise-epoch"({ context }, { unit, epoch }) {
    await changeRecord(context, unit, (record) => (record.home !== context.cluster.node || record.state !== "creating" || record.epoch >= epoch ? undefined : { ...record, epoch }));
  },
  async "clone-template"({ context }, { unit, snapshot, dataset, properties }) {
    const record = assertHome(context, unit);
    if (record.state !== "creating") throw new HcError("NOT_HOME", `${unit} is ${record.state}: no new dataset is made for it.`);
    await context.zfs.clone(snapshot, dataset, properties);
  },
  async "set-properties"({ context }, { dataset, properties }) {
    // each waits for a write of the pool, and those that are set together for the same one. A quota comes before what says that it was taken
    const { quota, ...others } = properties;
    if (quota !== undefined) await context.zfs.set(dataset, { quota });
    // the step is over when all are: one that still ran would write over what a later step sets
    const set = await Promise.allSettled(Object.entries(others).map(([name, value]) => context.zfs.set(dataset, { [name]: value })));
    for (const one of set) if (one.status === "rejected") throw one.reason;
  },
  async "stash-tail"({ context, replication }, { unit }) {
    const record = context.view.current().units.get(unit)?.value;
    if (record === undefined || record.home !== context.cluster.node || record.homeGeneration !== 0) throw new HcError("NOT_HOME", `${unit} is not to be taken over by ${context.cluster.node}.`);
    assertLive(context, unit);
    await replication.stashTail(unit, record);
  },
  async "mount-writable"({ context }, { unit, dataset }) {
    assertHome(context, unit);
    const found = await context.zfs.dataset(dataset);
    if (found?.user["unit"] !== unit) throw new HcError("ALREADY_EXISTS", `${dataset} is not the dataset of ${unit}.`);
    // a replica may be mounted readonly by hand; "remount" does not exist in zfs, so it goes through an unmount
    if (found.readonly && found.mounted) await context.zfs.unmount(dataset);
    if (found.readonly) await context.zfs.set(dataset, { readonly: "off" });
    const mountpoint = `${context.host.paths.data}/${unit}`;
    if (found.mountpoint !== mountpoint && !found.mounted) await context.zfs.set(dataset, { mountpoint });
    context.fence.open({ unit, dataset, mountpoint });
    assertHome(context, unit);
    await context.zfs.mount(dataset).catch(async (error: unknown) => {
      // a start that the fencer overtook may have written into the empty mount point; not every zfs mounts over that, and a site must not stay down for it
      const aside = zfsFailure(error) === "not-empty" ? await putAside(mountpoint, context.clock.wallMs()) : "";
      if (aside === "") throw error;
      context.event(unit, "mountpoint-cleared", `what lay below ${mountpoint} while nothing was mounted there is in ${aside}`);
      assertHome(context, unit);
      await context.zfs.mount(dataset);
    });
  },
  async populate({ context, populate }, { unit, dataset, ...request }, signal) {
    assertHome(context, unit);
    await populate(request, signal);
    await context.zfs.set(dataset, { [property("state")]: "populated" });
  },
  async "go-live"({ context, replication }, { unit, dataset }, signal) {
    const { epoch, restoreFrom } = assertHome(context, unit);
    const newest = (await context.zfs.snapshots(dataset)).at(-1);
    // made by an earlier try that did not reach its transaction
    const fits = newest !== undefined && parseSnapshotName(newest.name)?.epoch === epoch;
    const { guid } = fits ? newest : await replication.snapshotNow(unit, signal);
    // a unit out of the trash has lost its record: the dataset knows what it was cloned from
    const origin = restoreFrom === undefined ? undefined : await cloneOrigin(context, dataset);
    await changeRecord(context, unit, (record) => {
      if (record.home !== context.cluster.node || record.homeGeneration !== context.session.generation || record.epoch !== epoch) throw new HcError("NOT_HOME", `${unit} went elsewhere meanwhile.`);
      return record.state === "creating" ? { ...record, ...(origin === undefined ? {} : { origin }), state: "live", epochStartGuid: guid } : undefined;
    });
    context.event(unit, "created", `first snapshot ${guid}, epoch ${epoch}`);
  },
  async start(tools, { unit, site }) {
    const { context, memory } = tools;
    assertHome(context, unit);
    // a start takes its time on a busy node: what it writes as root is written only where the unit still is
    await context.services.start(site, async () => {
      assertHome(context, unit);
      await assertMountpoint(site.root);
    }, () => closedGate(tools, unit));
    memory.started.set(unit, siteText(site));
  },
  async check(tools, { unit, site }, signal) {
    const { context, memory } = tools;
    let last = "no answer";
    const looked = until(`ready check of ${unit}`, { firstMs: 30, capMs: 400, withinMs: checkWithinMs, signal }, async () => {
      const { ok, status, detail } = await context.services.check(site);
      last = `${status} ${detail}`.trim();
      return ok ? true : undefined;
    });
    await looked.catch((error: unknown) => {
      // nothing is known of one that was not asked to the end
      if (!signal.aborted) void closeGate(tools, unit);
      throw new HcError("NOT_READY", `${unit} does not answer as wanted on ${site.ready.path}: ${last}`, { cause: error });
    });
    // it was asked before what ended this sequence, and is being stopped now
    if (signal.aborted) throw new HcError("ABORTED", `The check of ${unit} was cancelled.`);
    memory.checked.set(unit, siteText(site));
    void context.gates.serves(unit, site.epoch);
  },
  async stop(tools, { unit }) {
    tools.memory.started.delete(unit);
    await closedGate(tools, unit);
    await tools.context.services.stop(unit);
  },
  unmount: ({ context }, { dataset }) => context.zfs.unmount(dataset),
  async "forget-record"({ context }, { unit }) {
    const found = await context.store.get(keys.unit(unit));
    if (found === undefined) return;
    const record = JSON.parse(found.value) as { home: string; state: string; epochStartGuid: string };
    if (record.home !== context.cluster.node || record.state !== "deleting" || record.epochStartGuid !== "") return;
    await context.store.txn([{ key: found.key, modRevision: found.modRevision }], [{ delete: found.key }]);
    await untilSeen(context, () => context.view.current().units.get(unit)?.revision !== found.modRevision, unit);
  },
};

/** The unit's gate is closed before what serves it is stopped. Where it is not served any more nothing keeps the stop waiting. */
async function closedGate(tools: Pick<AgentTools, "context" | "memory">, unit: string): Promise<void> {
  const told = closeGate(tools, unit);
  if (tools.context.session.owns(unit)) await withDeadline(closingMs, `closing the gate of ${unit}`, () => told).catch(() => undefined);
}
