import type { NodeContext } from "../context.js";
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

/** How long one check step looks for an answer before it gives the round back, ms. */
const checkWithinMs = 3_000;

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
  "set-properties": ({ context }, { dataset, properties }) => context.zfs.set(dataset, properties),
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
  async start({ context, memory }, { unit, site }) {
    assertHome(context, unit);
    memory.checked.delete(unit);
    // a start takes its time on a busy node: what it writes as root is written only where the unit still is
    await context.services.start(site, async () => {
      assertHome(context, unit);
      await assertMountpoint(site.root);
    }, () => closed(context, unit));
    memory.started.set(unit, siteText(site));
  },
  async check({ context, memory }, { unit, site }, signal) {
    let last = "no answer";
    const looked = until(`ready check of ${unit}`, { firstMs: 30, capMs: 400, withinMs: checkWithinMs, signal }, async () => {
      const { ok, status, detail } = await context.services.check(site);
      last = `${status} ${detail}`.trim();
      return ok ? true : undefined;
    });
    await looked.catch((error: unknown) => {
      // nothing is known of one that was not asked to the end
      if (!signal.aborted) void context.gates.stops(unit);
      throw new HcError("NOT_READY", `${unit} does not answer as wanted on ${site.ready.path}: ${last}`, { cause: error });
    });
    // it was asked before what ended this sequence, and is being stopped now
    if (signal.aborted) throw new HcError("ABORTED", `The check of ${unit} was cancelled.`);
    memory.checked.set(unit, siteText(site));
    void context.gates.serves(unit, site.epoch);
  },
  async stop({ context, memory }, { unit }) {
    memory.checked.delete(unit);
    memory.started.delete(unit);
    await closed(context, unit);
    await context.services.stop(unit);
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

/** Longest wait of a stop for the workers' line, ms: a matter of milliseconds where all is well. */
const closingMs = 500;

/** The unit's gate is closed before what serves it is stopped. Without a session there may be no time: nothing keeps the stop waiting. */
async function closed({ gates, session, clock, signal }: NodeContext, unit: string): Promise<void> {
  const told = gates.stops(unit);
  if (!session.isLive()) return;
  const over = new AbortController();
  await Promise.race([told, clock.sleep(closingMs, AbortSignal.any([signal, over.signal])).catch(() => undefined)]);
  over.abort();
}
