import { mkdir, readdir, writeFile } from "node:fs/promises";
import { templateText } from "../../templates/render.js";
import { HcError } from "../lib/errors.js";
import { failuresText, validate } from "../lib/schema.js";
import type { Build, BuildOptions, Recipe } from "./recipe.js";
import { buildDokuwiki } from "./recipe-dokuwiki.js";
import { buildPhp } from "./recipe-php.js";

export interface BuildReport { recipe: string; version: string; packages: Record<string, string> }

export const defaultPackagesDir = "/var/cache/hybridcluster/packages";
const builders: Record<string, (build: Build) => Promise<Record<string, string>>> = { php: buildPhp, dokuwiki: buildDokuwiki };

/** Reads a recipe of templates/recipes. Throws NOT_FOUND. */
export function readRecipe(name: string): Recipe {
  if (!Object.hasOwn(builders, name)) throw new HcError("NOT_FOUND", `There is no recipe ${JSON.stringify(name)}; known here: ${Object.keys(builders).join(", ")}.`);
  return JSON.parse(templateText(`recipes/${name}/recipe.json`)) as Recipe;
}

/**
 * Fills the dataset of a template: `www` is the document root, everything else of the container's layout is made when a site starts. Owned by root until a clone is made over to
 * its customer. Repeating needs an empty root. Throws INVALID_INPUT for settings, PATH_IN_USE for a root that is not empty, NOT_FOUND, COMMAND_FAILED.
 */
export async function buildTemplate(options: BuildOptions): Promise<BuildReport> {
  const { recipe, version, root, log, signal } = options;
  const recipeFile = readRecipe(recipe);
  const failures = validate(recipeFile.settings, options.settings);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `settings of recipe ${recipe}: ${failuresText(failures)}`);
  if ((await readdir(root)).length > 0) throw new HcError("PATH_IN_USE", `${root} is not empty; a template is built into an empty folder.`);
  const startedMs = performance.now();
  for (const folder of ["www", "tmp", "log", "data", "etc", "dev", "usr"]) await mkdir(`${root}/${folder}`, { recursive: true, mode: 0o755 });
  signal.throwIfAborted();
  const packages = await (builders[recipe] as (build: Build) => Promise<Record<string, string>>)({ ...options, recipeFile, packagesDir: options.packagesDir ?? defaultPackagesDir });
  const report: BuildReport = { recipe, version, packages };
  await writeFile(`${root}/.hc-template.json`, `${JSON.stringify({ format: 1, ...report }, null, 2)}\n`);
  log.info({ recipe, version, packages, durationMs: Math.round(performance.now() - startedMs) }, "template built");
  return report;
}
