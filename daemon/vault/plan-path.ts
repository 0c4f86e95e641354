import { HcError } from "../lib/errors.js";

const longest = 4_096;

/**
 * Pure: `--file PATH`, a path inside the unit's filesystem ("www/index.php"; a "/" before or after it is nothing). Its parts. Throws INVALID_INPUT for what leads out of the unit or names all of it.
 */
export function pathParts(path: unknown): string[] {
  const refuse = (why: string): HcError => new HcError("INVALID_INPUT", `file: ${JSON.stringify(String(path).slice(0, 200))} ${why}; write a path inside the unit, such as "www/index.php".`);
  if (typeof path !== "string" || path.length > longest) throw refuse(`is no path of at most ${longest} characters`);
  if (path.includes("\0")) throw refuse("holds a zero byte");
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0) throw refuse("names all of the unit: leave --file out for that");
  if (parts.includes("..")) throw refuse('leads upwards by ".."');
  if ((parts[0] as string).startsWith(stagePrefix)) throw refuse("is a folder of ours");
  return parts;
}

/** Folders of ours in a unit's root while something is restored; root's alone (0700), so that no tenant can look or reach in. */
export const stagePrefix = ".hc-restore-";
export const isStage = (name: string | Buffer): boolean => name.toString("latin1").startsWith(stagePrefix);
