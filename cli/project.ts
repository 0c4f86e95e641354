import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parse } from "yaml";
import { HcError } from "../daemon/lib/errors.js";

/** A Pulumi project on disk: the folder with Pulumi.yaml, its name, and the program's entry. */
export interface Project { root: string; name: string; program: string; ownPackage: boolean }

export function findProject(from: string): Project {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const file = join(folder, "Pulumi.yaml");
    if (existsSync(file)) return readProject(folder, file);
    if (folder === dirname(folder)) throw new HcError("NOT_FOUND", `There is no Pulumi.yaml in ${from} or above it. Go to a project's folder, or name it with --cwd.`);
  }
}

function readProject(root: string, file: string): Project {
  const text = parse(readFileSync(file, "utf8")) as { name?: string; main?: string } | null;
  if (typeof text?.name !== "string") throw new HcError("INVALID_INPUT", `${file}: name is missing.`);
  const packageFile = join(root, "package.json");
  const packageJson = existsSync(packageFile) ? (JSON.parse(readFileSync(packageFile, "utf8")) as { name?: string; main?: string }) : {};
  const main = text.main ?? packageJson.main ?? "index.js";
  const program = isAbsolute(main) ? main : join(root, main);
  return { root, name: text.name, program, ownPackage: packageJson.name === "hybridcluster" };
}

/**
 * The stack that is meant: the named one, else the only one that has a settings file, else "local" where the program is the library's own demo.
 * A name that is neither in `kept` (stacks with a state) nor has a settings file is taken for a mistake as soon as there are others.
 */
export function chooseStack(project: Project, wanted: string | undefined, kept: readonly string[] = []): string {
  const found = readdirSync(project.root).map((name) => /^Pulumi\.(.+)\.ya?ml$/.exec(name)?.[1]).filter((name): name is string => name !== undefined);
  if (wanted !== undefined) {
    if (!/^[A-Za-z0-9_.-]{1,100}$/.test(wanted)) throw new HcError("INVALID_INPUT", `--stack: ${JSON.stringify(wanted)} cannot be used; write letters, digits, ".", "_" or "-".`);
    const known = [...new Set([...found, ...kept])].sort();
    if (known.length > 0 && !known.includes(wanted)) throw new HcError("NOT_FOUND", `There is no stack ${wanted}; there are: ${known.join(", ")}. To begin another one, make its settings file first: touch Pulumi.${wanted}.yaml`);
    return wanted;
  }
  if (found.length === 1) return found[0] as string;
  if (found.length > 1 && !found.includes("local")) throw new HcError("INVALID_INPUT", `There are several stacks (${found.join(", ")}); choose one with --stack.`);
  return "local";
}
