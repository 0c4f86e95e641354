import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HcError } from "../daemon/lib/errors.js";
import type { Output } from "./output.js";
import type { Project } from "./project.js";

/** Runs the project's own `build` script before its program (ours is built by bin/enter.js). Throws COMMAND_FAILED with the script's output shown. */
export function buildUserProject(project: Project, output: Output): void {
  const file = join(project.root, "package.json");
  if (project.ownPackage || !existsSync(file)) return;
  const { scripts } = JSON.parse(readFileSync(file, "utf8")) as { scripts?: Record<string, string> };
  if (scripts?.["build"] !== undefined) {
    const run = spawnSync("npm", ["run", "--silent", "build"], { cwd: project.root, encoding: "utf8", timeout: 300_000, maxBuffer: 16 * 1024 * 1024 });
    const text = `${run.stdout ?? ""}${run.stderr ?? ""}`.trim();
    if (run.status !== 0) throw new HcError("COMMAND_FAILED", `The project's build script failed:\n${text || String(run.error?.message ?? `exit ${run.status}`)}`);
    if (text !== "") output.err(`${text}\n`);
  }
  if (!existsSync(project.program)) throw new HcError("NOT_FOUND", `The program ${project.program} does not exist. Name it as \`main\` in Pulumi.yaml, and build it (a "build" script in package.json is run by hc).`);
}
