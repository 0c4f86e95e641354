import { lstatSync, renameSync } from "node:fs";
import { chmod, chown, lstat, mkdir, readdir } from "node:fs/promises";
import type { CommandRunner } from "../lib/command.js";
import { runOk } from "../lib/command.js";
import { HcError } from "../lib/errors.js";
import { isStage, stagePrefix } from "./plan-path.js";

/** Longest removal of what was in the way, ms. */
const removeWithinMs = 3_600_000;

/**
 * A folder of root's alone (0700) in a unit's root, which is root's too (services/container.ts): on the unit's filesystem, so that one rename brings things in and out, and out of every tenant's reach. `new` is for what comes,
 * `old` for what goes.
 */
export interface Stage { path: string; fresh: string; attic: string }

export async function makeStage(root: string, id: string): Promise<Stage> {
  const path = `${root}/${stagePrefix}${id}`;
  await mkdir(path, { mode: 0o700 });
  await chown(path, 0, 0);
  await chmod(path, 0o700);
  for (const name of ["new", "old"]) await mkdir(`${path}/${name}`, { mode: 0o700 });
  return { path, fresh: `${path}/new`, attic: `${path}/old` };
}

/**
 * Removes a stage with all in it. By rm(1), which walks by open folders and looks at what it enters (fts(3)): a process of the tenant that stands in a folder which was taken out of the way may still change things in it,
 * and a walk by paths could be led out by a link.
 */
export async function removeStage(runner: CommandRunner, path: string): Promise<void> {
  await runOk(runner, ["rm", "-rf", "--", path], { timeoutMs: removeWithinMs });
}

/** What a crash has left. What was still to come is not brought in: the restore did not answer, and is asked for again. */
export async function leftStages(root: string): Promise<string[]> {
  const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names.filter((name) => isStage(name)).map((name) => `${root}/${name}`);
}

/**
 * The deepest folder on the way to `parts` that is there below `root`, and the name in it that is to be put: the last part, or the first folder that is missing. Throws INVALID_INPUT when the way leads through a link or
 * a file.
 */
export async function landing(root: string, parts: readonly string[]): Promise<{ folder: string; name: string; /** How many of `parts` are in `folder`. */ depth: number }> {
  let folder = root;
  for (const [index, part] of parts.slice(0, -1).entries()) {
    const seen = await lstat(`${folder}/${part}`).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (seen === undefined) return { folder, name: part, depth: index };
    if (!seen.isDirectory()) throw new HcError("INVALID_INPUT", `file: ${parts.slice(0, index + 1).join("/")} is ${seen.isSymbolicLink() ? "a symbolic link" : "no folder"} in the unit now; links are never followed. Name the path that it leads to, or remove it.`);
    folder = `${folder}/${part}`;
  }
  return { folder, name: parts.at(-1) as string, depth: parts.length - 1 };
}

/**
 * Puts `fresh` at `folder/name`; what stands there goes to `attic` first when it is a folder, or in the way of one. The tenant runs and may swap any folder for a link at any moment, and node has no renameat(2): so this steps into
 * the folder, asks the system where it stands, and renames by the bare name, all in one piece of synchronous code; nothing of this process uses relative paths. Throws CONFLICT when the folder is not what it was.
 */
export function putInPlace(fresh: string, folder: string, name: string, attic: string): void {
  const back = process.cwd();
  process.chdir(folder);
  try {
    const here = process.cwd();
    if (here !== folder) throw new HcError("CONFLICT", `${folder} became a way to ${here} while it was restored; nothing was changed. Try again.`, { retry: "never" });
    const coming = lstatSync(fresh);
    const present = lstatSync(name, { throwIfNoEntry: false });
    const aside = present !== undefined && (present.isDirectory() || coming.isDirectory());
    if (aside) renameSync(name, attic);
    try {
      renameSync(fresh, name);
    } catch (error) {
      if (aside) renameSync(attic, name);
      throw error;
    }
  } finally {
    process.chdir(back);
  }
}
