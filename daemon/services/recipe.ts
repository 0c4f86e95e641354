import { mkdir, writeFile } from "node:fs/promises";
import { templateFolder, templateText } from "../../templates/render.js";
import type { CommandRunner } from "../lib/command.js";
import type { Logger } from "../lib/log.js";

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

/** Copies `recipes/<name>/<below>/…` to `target`, as they are. */
export async function copyRecipeFiles(name: string, below: string, target: string): Promise<void> {
  const prefix = `recipes/${name}/${below}/`;
  for (const file of templateFolder(prefix)) {
    const path = `${target}/${file.slice(prefix.length)}`;
    await mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    await writeFile(path, templateText(file), { mode: 0o644 });
  }
}
