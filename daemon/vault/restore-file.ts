import { chmod, chown, lstat, mkdir, realpath } from "node:fs/promises";
import { randomBytes } from "node:crypto";
import { assertHome } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { restoreOf } from "../lib/records.js";
import { formatSize } from "../lib/sizes.js";
import type { Replication } from "../replication/replication.js";
import { keepSnapshot } from "./kept.js";
import type { Opened, VaultClones } from "./clones.js";
import type { VaultSnapshot } from "./choose-snapshot.js";
import { measureTree } from "./measure.js";
import { pathParts } from "./plan-path.js";
import { landing, makeStage, putInPlace, removeStage } from "./stage.js";
import { asHcError, type CopyCount, copyEntry } from "./tree-copy.js";

/** Left for the site itself, bytes. */
const roomBytes = 4 * 1024 * 1024;

export interface FileRestored extends CopyCount { /** What was put; a folder above the path when that was missing too. */ path: string; /** The snapshot of the present that was made first. */ before: string }
export interface RestoreParts { context: NodeContext; replication: Replication; clones: VaultClones }

/** Throws NOT_HOME when the unit's data may not be written now: the rule of assertHome, and the unit's own filesystem still lies at `root`. */
export function writeGuard(context: NodeContext, unit: string, root: string, device: number, signal: AbortSignal): () => Promise<void> {
  return async () => {
    if (signal.aborted) throw new HcError("ABORTED", `The restore of ${unit} was cancelled.`);
    const record = assertHome(context, unit);
    if (record.state !== "live") throw new HcError("CONFLICT", `${unit} is ${record.state}.`, { retry: "never" });
    // unmounted by the fence, the same path is an empty folder of the parent
    if ((await lstat(root)).dev !== device) throw new HcError("NOT_HOME", `${unit} is not mounted any more.`);
  };
}

/** The device of a unit that is mounted at `root`. Throws NOT_READY. */
export async function mountedDevice(context: Pick<NodeContext, "zfs" | "cluster">, unit: string, root: string): Promise<number> {
  if ((await context.zfs.mounted()).get(`${context.cluster.dataset}/${unit}`) !== root) throw new HcError("NOT_READY", `${unit} is not mounted at ${root}.`);
  return (await lstat(root)).dev;
}

/**
 * One file or folder out of a snapshot into place, while the site runs: snapshot of the present → copy out of a clone into the stage → one rename. A crash before the rename has changed nothing, one after it leaves a stage,
 * which is removed at the next start. `open`: where the content comes from, the unit's own snapshot when not given. Throws INVALID_INPUT, NOT_FOUND, NOT_HOME, LIMIT_EXCEEDED, CONFLICT.
 */
export async function restoreFile({ context, replication, clones }: RestoreParts, unit: string, snapshot: VaultSnapshot, path: unknown, signal: AbortSignal, open: () => Promise<Opened> = () => clones.work(unit, snapshot.name)): Promise<FileRestored> {
  const parts = pathParts(path);
  const record = assertHome(context, unit);
  if (record.state !== "live") throw new HcError("NOT_READY", `${unit} is ${record.state}.`);
  if (restoreOf(record) !== undefined) throw new HcError("CONFLICT", `${unit} is being restored as a whole.`, { retry: "never" });
  const root = await realpath(`${context.host.paths.data}/${unit}`);
  const device = await mountedDevice(context, unit, root);
  const guard = writeGuard(context, unit, root, device, signal);
  const { name: before } = await replication.snapshotNow(unit, signal);
  const clone = await open();
  try {
    await inSnapshot(clone.path, parts, snapshot.name);
    await assertRoom(context, unit, await measureTree(`${clone.path}/${parts.join("/")}`, guard));
    const { folder, name, depth } = await landing(root, parts);
    const stage = await makeStage(root, randomBytes(6).toString("hex"));
    try {
      const fresh = await bring(clone.path, parts, depth, stage.fresh, guard);
      if (parts.length === 1) await likePresent(`${root}/${name}`, `${stage.fresh}/${name}`);
      await keepSnapshot(context, unit, before);
      await guard();
      putInPlace(`${stage.fresh}/${name}`, folder, name, `${stage.attic}/0`);
      return { ...fresh, path: [...parts.slice(0, depth), name].join("/"), before };
    } finally {
      await removeStage(context.runner, stage.path).catch((error: unknown) => context.log.warn({ unit, stage: stage.path, err: error }, "a stage of a restore stays until the next round"));
    }
  } catch (error) {
    throw asHcError(error);
  } finally {
    await clone.close();
  }
}

/**
 * Before anything is written: the site runs, so a snapshot may be made of what is in the stage, and what a snapshot holds cannot be freed. A unit that was filled up by a restore in vain would take no more writes.
 */
async function assertRoom({ zfs, cluster }: NodeContext, unit: string, bytes: number): Promise<void> {
  const available = Number((await zfs.look(`${cluster.dataset}/${unit}`))?.dataset.availableBytes ?? "0");
  if (bytes + roomBytes <= available) return;
  throw new HcError("LIMIT_EXCEEDED", `There is no room for what is to be restored: it takes ${formatSize(bytes)}, ${unit} has ${formatSize(available)} left. Raise the site's quota, or free space.`, { retry: "never" });
}

/** The path is there in the snapshot, and no link is on the way. */
async function inSnapshot(clone: string, parts: readonly string[], snapshot: string): Promise<void> {
  for (let count = 1; count <= parts.length; count += 1) {
    const path = parts.slice(0, count).join("/");
    const seen = await lstat(`${clone}/${path}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") throw new HcError("NOT_FOUND", `file: there is no ${path} in ${snapshot}. Paths begin at the unit's root: the site's pages lie in www.`);
      throw error;
    });
    if (count < parts.length && seen.isSymbolicLink()) throw new HcError("INVALID_INPUT", `file: ${path} is a symbolic link in ${snapshot}; links are never followed. Name the path that it leads to.`);
    if (count === parts.length && !seen.isFile() && !seen.isDirectory() && !seen.isSymbolicLink()) throw new HcError("INVALID_INPUT", `file: ${path} is no file, folder or link.`);
  }
}

/** Copies into the stage what is to be put: the entry itself, or the first missing folder above it with nothing but the way to the entry. */
async function bring(clone: string, parts: readonly string[], depth: number, stage: string, guard: () => Promise<void>): Promise<CopyCount> {
  const attic = `${stage}/.attic`; // nothing is in the way there
  let target = stage;
  for (const part of parts.slice(depth, -1)) {
    target = `${target}/${part}`;
    await mkdir(target, { mode: 0o700 });
  }
  const count = await copyEntry({ source: `${clone}/${parts.join("/")}`, target: `${target}/${parts.at(-1) as string}`, attic, guard });
  // folders of the way, the deepest first, get what they had; nothing of the tenant's can be a link here
  for (let last = parts.length - 1; last > depth; last -= 1) await likeFolder(`${clone}/${parts.slice(0, last).join("/")}`, `${stage}/${parts.slice(depth, last).join("/")}`);
  return count;
}

/** The unit's top folders have the owners that the container gave them on this node (services/container.ts); the web server's group may have another number on the node where the snapshot was made. */
async function likePresent(present: string, fresh: string): Promise<void> {
  const [here, coming] = await Promise.all([lstat(present).catch(() => undefined), lstat(fresh)]);
  if (here?.isDirectory() === true && coming.isDirectory()) await likeFolder(present, fresh);
}

async function likeFolder(source: string, target: string): Promise<void> {
  const { uid, gid, mode } = await lstat(source);
  await chown(target, uid, gid);
  await chmod(target, mode & 0o7777);
}
