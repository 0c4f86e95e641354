import { mkdir, readdir, writeFile } from "node:fs/promises";
import { templateFolder, templateText } from "../../templates/render.js";
import type { CommandRunner } from "../lib/command.js";
import { HcError } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { failuresText, validate } from "../lib/schema.js";
import { buildDokuwiki } from "./recipe-dokuwiki.js";
import { buildPhp } from "./recipe-php.js";

export interface BuildOptions {
  recipe: string;
  version: string;
  settings: Record<string, string>;
  /** Mount point of the template's dataset, empty. */
  root: string;
  runner: CommandRunner;
  log: Logger;
  signal: AbortSignal;
  /** Debian packages that need no download. */
  packagesDir?: string;
}
/** What `recipe.json` of a recipe says. */
export interface Recipe {
  version: 1;
  description: string;
  /** Debian packages that it is made from. */
  packages: string[];
  /** JSON schema of its settings. */
  settings: object;
}
/** What a step of a recipe is given. */
export interface Build extends BuildOptions { recipeFile: Recipe; packagesDir: string }
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

/** Copies `recipes/<name>/<below>/…` to `target`, as they are. */
export async function copyRecipeFiles(name: string, below: string, target: string): Promise<void> {
  const prefix = `recipes/${name}/${below}/`;
  for (const file of templateFolder(prefix)) {
    const path = `${target}/${file.slice(prefix.length)}`;
    await mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await writeFile(path, templateText(file), { mode: 0o644 });
  }
}
