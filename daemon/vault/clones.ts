import { randomBytes } from "node:crypto";
import { chmod, chown, lstat, mkdir, rmdir } from "node:fs/promises";
import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { Locks } from "../lib/locks.js";
import { userPrefix } from "../zfs/commands.js";
import { zfsFailure } from "../zfs/errors.js";
import type { Dataset } from "../zfs/zfs.js";

/** A snapshot that is looked at: a read-only clone below `<dataset>/vault`, mounted where only root of its node can go. */
export interface BrowseInfo { id: string; unit: string; node: string; snapshot: string; path: string; expiresAtMs: number }
export type CloneContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "clock" | "log" | "event">;

export const vaultRoot = (root: string): string => `${root}/vault`;
export const isVaultName = (inner: string): boolean => inner === "vault" || inner.startsWith("vault/");
/** Clones for people at once on one node. */
export const maxBrowses = 32;
const idleLookMs = 300_000;
const cloneProperty = `${userPrefix}vault`;
const idPattern = /^(site-[a-z0-9-]{1,32})-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}$/;
/** A clone does not bear `hybridcluster:unit`: it is no copy of the unit, for nobody who looks through a pool. */
const unitOfClone = (id: string): string => idPattern.exec(id)?.[1] ?? "";

/** `work` for a restore or a comparison of this process, `received` for one that came from another node; `browse:<UTC ms>` for people, until then. Undefined: not ours. */
export function parseCloneKind(text: string | undefined): { kind: "work" | "received" } | { kind: "browse"; expiresAtMs: number } | undefined {
  if (text === "work" || text === "received") return { kind: text };
  const match = /^browse:([0-9]{1,15})$/.exec(text ?? "");
  return match === null ? undefined : { kind: "browse", expiresAtMs: Number(match[1]) };
}

/** `close` it. */
export interface Opened { path: string; close(): Promise<void> }

/**
 * Clones are how a snapshot is read (the lab's zfs has no `.zfs/snapshot`). A clone also keeps its snapshot from being pruned while it is there. They hold no data of their own, so they are destroyed at will: those of
 * restores when hcd starts, those of people when they expire; nothing that is not below `<dataset>/vault` with our property is ever destroyed here.
 */
export class VaultClones {
  /** Clones that a restore of this process reads now. */
  private readonly working = new Set<string>();
  private readonly locks = new Locks();
  /** May there be a clone? Without one nothing is asked of zfs, but for a look now and then. */
  private mayBe = true;
  private lookedMs = Number.NEGATIVE_INFINITY;
  public constructor(private readonly context: CloneContext) {}

  /** Not below the pool's own mount point: where that is FUSE's (the lab), a look that is refused to somebody unmounts what is mounted there (fuse_dentry_revalidate, d_invalidate; found by the lab). */
  public get folder(): string {
    return `${this.context.host.paths.run}/vault`;
  }
  private dataset(id: string): string {
    return `${vaultRoot(this.context.cluster.dataset)}/${id}`;
  }

  /** A clone to be read. `from`: the dataset that has the snapshot, when it is not the unit's own; full name. */
  public async work(unit: string, snapshot: string, from?: string): Promise<Opened> {
    return this.opened(unit, await this.make(unit, "work", this.cloning(unit, snapshot, from)));
  }
  /** The same for what another node sends: `receive` receives one snapshot into a new dataset with these properties. */
  public async received(unit: string, receive: (dataset: string, properties: Record<string, string>) => Promise<void>): Promise<Opened> {
    return this.opened(unit, await this.make(unit, "received", receive));
  }
  private opened(unit: string, id: string): Opened {
    return {
      path: `${this.folder}/${id}`,
      close: async () => {
        try {
          await this.destroy(id);
        } catch (error) {
          this.context.log.warn({ unit, clone: id, reason: messageOf(error) }, "a clone of the vault stays until the next round");
        } finally {
          this.working.delete(id);
        }
      },
    };
  }
  /** Throws LIMIT_EXCEEDED, NOT_FOUND (the snapshot is gone). */
  public async browse(unit: string, snapshot: string, forMs: number): Promise<BrowseInfo> {
    const open = await this.list();
    if (open.length >= maxBrowses) throw new HcError("LIMIT_EXCEEDED", `${maxBrowses} snapshots are browsed on ${this.context.host.node} already; close one (\`hc vault close ID\`).`, { retry: "never" });
    const expiresAtMs = Math.floor(this.context.clock.wallMs() + forMs);
    const id = await this.make(unit, `browse:${expiresAtMs}`, this.cloning(unit, snapshot));
    return { id, unit, node: this.context.host.node, snapshot, path: `${this.folder}/${id}`, expiresAtMs };
  }
  public async close(id: string): Promise<void> {
    if (!idPattern.test(id) || !(await this.list()).some((one) => one.id === id)) throw new HcError("NOT_FOUND", `Nothing is browsed as ${JSON.stringify(id.slice(0, 100))} on ${this.context.host.node}.`);
    await this.destroy(id);
  }

  public async list(): Promise<BrowseInfo[]> {
    const { host } = this.context;
    return (await this.clones()).flatMap(({ name, origin, user }) => {
      const kind = parseCloneKind(user["vault"]);
      const id = name.slice(vaultRoot(this.context.cluster.dataset).length + 1);
      return kind?.kind === "browse" ? [{ id, unit: unitOfClone(id), node: host.node, snapshot: origin.slice(origin.indexOf("@") + 1), path: `${this.folder}/${id}`, expiresAtMs: kind.expiresAtMs }] : [];
    });
  }

  /** Destroys what has expired, and what an earlier process has left behind; mounts again what people browse (after a reboot). */
  public async sweep(): Promise<void> {
    const { clock, log, zfs, event, host } = this.context;
    if (!this.mayBe && clock.monotonicMs() - this.lookedMs < idleLookMs) return;
    this.mayBe = false; // before the look: a clone that is made meanwhile counts
    const clones = await this.clones().catch((error: unknown) => {
      this.mayBe = true;
      throw error;
    });
    this.lookedMs = clock.monotonicMs();
    if (clones.length > 0) this.mayBe = true;
    for (const { name, mounted, user } of clones) {
      const id = name.slice(vaultRoot(this.context.cluster.dataset).length + 1);
      const kind = parseCloneKind(user["vault"]);
      if (kind === undefined || this.working.has(id)) continue;
      try {
        if (kind.kind !== "browse" || kind.expiresAtMs <= clock.wallMs()) {
          await this.destroy(id);
          if (kind.kind === "browse") event(unitOfClone(id), "browse-expired", `${id} on ${host.node}`);
        } else if (!mounted) {
          await this.prepareFolder();
          await zfs.mount(name);
        }
      } catch (error) {
        // somebody stands in it: the next round tries again
        log.warn({ clone: id, reason: messageOf(error) }, "a clone of the vault could not be tidied");
      }
    }
  }

  private async clones(): Promise<Dataset[]> {
    const root = vaultRoot(this.context.cluster.dataset);
    const all = await this.context.zfs.datasets(root).catch((error: unknown) => {
      if (errorCode(error) === "NOT_FOUND") return [];
      throw error;
    });
    return all.filter(({ name }) => name.startsWith(`${root}/`));
  }

  private cloning(unit: string, snapshot: string, from = `${this.context.cluster.dataset}/${unit}`) {
    return (dataset: string, properties: Record<string, string>): Promise<void> => this.context.zfs.clone(`${from}@${snapshot}`, dataset, properties);
  }
  private async make(unit: string, kind: string, fill: (dataset: string, properties: Record<string, string>) => Promise<void>): Promise<string> {
    const { zfs, cluster, clock } = this.context;
    const id = `${unit}-${new Date(clock.wallMs()).toISOString().replace(/[-:]/g, "").replace(/\.\d+Z$/, "Z")}-${randomBytes(3).toString("hex")}`;
    await this.prepareFolder();
    await zfs.create(vaultRoot(cluster.dataset), { canmount: "off" }).catch((error: unknown) => {
      if (errorCode(error) !== "ALREADY_EXISTS") throw error;
    });
    this.mayBe = true;
    if (!kind.startsWith("browse:")) this.working.add(id);
    const path = `${this.folder}/${id}`;
    try {
      await fill(this.dataset(id), { canmount: "noauto", readonly: "on", setuid: "off", exec: "off", atime: "off", mountpoint: path, [cloneProperty]: kind });
      await zfs.mount(this.dataset(id));
      // a clone that is not mounted would show an empty folder: nothing may be restored from that
      if ((await zfs.mounted()).get(this.dataset(id)) !== path) throw new HcError("NOT_READY", `${this.dataset(id)} is not mounted at ${path}.`);
    } catch (error) {
      this.working.delete(id);
      await this.destroy(id).catch(() => undefined);
      throw error;
    }
    return id;
  }

  private destroy(id: string): Promise<void> {
    return this.locks.run(id, async () => {
      const { zfs } = this.context;
      const dataset = this.dataset(id);
      const found = (await zfs.look(dataset))?.dataset;
      if (found === undefined) return;
      const kind = parseCloneKind(found.user["vault"])?.kind;
      if (kind === undefined || (found.origin === "" && kind !== "received")) throw new HcError("ALREADY_EXISTS", `${dataset} is no clone of ours.`);
      await zfs.unmount(dataset, { force: true });
      if (kind === "received") for (const { name } of await zfs.snapshots(dataset)) await zfs.destroy(`${dataset}@${name}`);
      await zfs.destroy(dataset).catch((error: unknown) => {
        if (zfsFailure(error) !== "missing") throw error;
      });
      // OpenZFS removes the mount point itself
      await rmdir(`${this.folder}/${id}`).catch(() => undefined);
    });
  }

  /** Nobody but root gets past this folder, whatever the modes below it are. */
  private async prepareFolder(): Promise<void> {
    const { folder } = this;
    await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    const seen = await lstat(folder);
    if (!seen.isDirectory()) throw new HcError("PATH_IN_USE", `${folder} must be a folder.`);
    if (seen.uid !== 0 || seen.gid !== 0) await chown(folder, 0, 0);
    if ((seen.mode & 0o7777) !== 0o700) await chmod(folder, 0o700);
  }
}
