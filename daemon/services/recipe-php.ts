import { type Build, copyRecipeFiles } from "./recipe.js";

/** A page that shows node, epoch and time. */
export async function buildPhp({ root }: Build): Promise<Record<string, string>> {
  await copyRecipeFiles("php", "www", `${root}/www`);
  return {};
}
