import { copyFile, lstat, mkdir, readdir, readlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type CommandRunner, runOk } from "../lib/command.js";
import { HcError } from "../lib/errors.js";

export interface UnpackedPackage { name: string; version: string; root: string }
const unpackMs = 120_000;
const downloadMs = 300_000;

/** Pure: the file of a package among names such as "dokuwiki_0.0.20220731.a-2_all.deb"; the last by name when there are several. */
export function packageFile(files: readonly string[], name: string): string | undefined {
  return files.filter((file) => file.startsWith(`${name}_`) && file.endsWith(".deb")).sort().at(-1);
}

/**
 * Unpacks packages into folders of their own below `work`, without running their scripts. Those that are not in `packagesDir` are fetched by
 * apt-get, which checks their signatures; what lies in the folder was fetched so too.
 */
export async function unpackPackages(runner: CommandRunner, names: readonly string[], packagesDir: string, work: string, signal: AbortSignal): Promise<UnpackedPackage[]> {
  const stored = await readdir(packagesDir).catch(() => []);
  const missing = names.filter((name) => packageFile(stored, name) === undefined);
  const downloads = join(work, "download");
  await mkdir(downloads, { recursive: true });
  if (missing.length > 0) await runOk(runner, ["apt-get", "download", "--quiet", ...missing], { timeoutMs: downloadMs, cwd: downloads, signal });
  const fetched = await readdir(downloads);
  const unpacked: UnpackedPackage[] = [];
  for (const name of names) {
    const own = packageFile(stored, name);
    const other = packageFile(fetched, name);
    const file = own !== undefined ? join(packagesDir, own) : other === undefined ? undefined : join(downloads, other);
    if (file === undefined) throw new HcError("NOT_FOUND", `The Debian package ${name} is neither in ${packagesDir} nor could it be fetched.`);
    const root = join(work, "unpacked", name);
    await mkdir(root, { recursive: true });
    await runOk(runner, ["dpkg-deb", "--extract", file, root], { timeoutMs: unpackMs, signal });
    const version = (await runOk(runner, ["dpkg-deb", "--field", file, "Version"], { timeoutMs: unpackMs, signal })).trim();
    unpacked.push({ name, version, root });
  }
  return unpacked;
}

const maxDepth = 64;
/** Files of one folder that are copied at once. */
const atOnce = 16;

/**
 * Copies `path` (absolute, as on a system with all the packages installed) to `target`, with every link replaced by what it leads to.
 * Links that lead nowhere are left out. Modes: 0644 and 0755. Throws NOT_FOUND when no package has the path.
 */
export async function copyResolved(packages: readonly UnpackedPackage[], path: string, target: string, depth = 0): Promise<void> {
  if (depth > maxDepth) throw new HcError("INVALID_INPUT", `${path}: links of the packages lead in a circle.`);
  const places = await existing(packages, path);
  if (places.length === 0) throw new HcError("NOT_FOUND", `None of the packages holds ${path}.`);
  const folders = places.filter(({ kind }) => kind === "folder");
  const file = places.find(({ kind }) => kind === "file");
  const link = places.find(({ kind }) => kind === "link");
  // a real folder or file of one package goes before a link of another (phpseclib in two packages)
  if (folders.length === 0 && file !== undefined) {
    await mkdir(dirname(target), { recursive: true });
    await copyFile(file.at, target);
    return;
  }
  if (folders.length === 0 && link !== undefined) {
    const leads = await readlink(link.at);
    const next = leads.startsWith("/") ? leads : join(dirname(path), leads);
    if ((await existing(packages, next)).length > 0) await copyResolved(packages, next, target, depth + 1);
    return;
  }
  await mkdir(target, { recursive: true, mode: 0o755 });
  const names = new Set((await Promise.all(folders.map(({ at }) => readdir(at)))).flat());
  const sorted = [...names].sort();
  for (let from = 0; from < sorted.length; from += atOnce)
    await Promise.all(sorted.slice(from, from + atOnce).map((name) => copyResolved(packages, join(path, name), join(target, name), depth + 1)));
}

async function existing(packages: readonly UnpackedPackage[], path: string): Promise<{ at: string; kind: "folder" | "file" | "link" }[]> {
  const found: { at: string; kind: "folder" | "file" | "link" }[] = [];
  for (const { root } of packages) {
    const at = join(root, path);
    const seen = await lstat(at).catch(() => undefined);
    if (seen === undefined) continue;
    found.push({ at, kind: seen.isSymbolicLink() ? "link" : seen.isDirectory() ? "folder" : "file" });
  }
  return found;
}
