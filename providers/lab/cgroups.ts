import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { until } from "../../daemon/lib/backoff.js";

const root = "/sys/fs/cgroup";

/** One line of /proc/self/cgroup (cgroups(7)): version 2 has no controllers named. */
export interface Membership {
  controllers: string;
  path: string;
}
export function parseMemberships(text: string): Membership[] {
  return text.trim().split("\n").map((line) => /^[0-9]+:([^:]*):(.*)$/.exec(line)).filter((match) => match !== null)
    .map((match) => ({ controllers: match[1] as string, path: match[2] as string }));
}

/**
 * The folders of a node's control groups. Version 1 and hybrid: below the group of this process in each hierarchy. Pure version 2: at
 * the top, because a group that holds processes (a login session) cannot hand controllers on to its children.
 */
export function groupFolders(memberships: readonly Membership[], lab: string, node: string, exists: (path: string) => boolean = existsSync): string[] {
  if (exists(`${root}/cgroup.controllers`)) return [join(root, lab, node)];
  return memberships.flatMap(({ controllers, path }) => {
    const names = controllers === "" ? ["unified"] : [controllers.replace(/^name=/, ""), controllers];
    const mounted = names.map((name) => join(root, name)).find((folder) => exists(join(folder, "cgroup.procs")));
    return mounted === undefined ? [] : [join(mounted, path, lab, node)];
  });
}

export function nodeGroups(lab: string, index: number): string[] {
  return groupFolders(parseMemberships(readFileSync("/proc/self/cgroup", "utf8")), lab, `n${index}`);
}

/** Version 2 only: hands the controllers down to the lab's group. A machine that does not allow it has no limits in its nodes. */
export function enableControllers(groups: readonly string[]): void {
  if (groups.length !== 1 || !existsSync(`${root}/cgroup.controllers`)) return;
  const lab = join(groups[0] as string, "..");
  for (const folder of [root, lab]) {
    let offered: string[] = [];
    try {
      offered = readFileSync(join(folder, "cgroup.controllers"), "utf8").trim().split(" ").filter((name) => name !== "");
    } catch {
      return;
    }
    for (const controller of offered) {
      try {
        writeFileSync(join(folder, "cgroup.subtree_control"), `+${controller}`);
      } catch {
        // not ours to hand on (a container): limits of that controller do not hold in the nodes
      }
    }
  }
}

function subfolders(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name));
  } catch {
    return []; // gone already
  }
}

/** Processes in a group and below it, as this machine counts them. */
export function processesIn(folder: string): number[] {
  let own: number[] = [];
  try {
    own = readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter((line) => line !== "").map(Number);
  } catch {
    return [];
  }
  return [...own, ...subfolders(folder).flatMap(processesIn)];
}

function removeTree(folder: string): boolean {
  for (const child of subfolders(folder)) removeTree(child);
  try {
    rmdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") return false;
  }
  return true;
}

/** Removes a node's groups and the lab's, when that was the last. They empty a little after their processes end: tried again. */
export async function removeGroups(groups: readonly string[]): Promise<void> {
  for (const group of groups) {
    await until(`removal of ${group}`, { withinMs: 10_000, firstMs: 10, capMs: 100 }, async () => (removeTree(group) ? true : undefined));
    try {
      rmdirSync(join(group, ".."));
    } catch {
      // other nodes of the lab are still in it
    }
  }
}

/** How deep below a hierarchy's top the groups of labs are looked for: that of a login or service that ran one lies in between. */
const searchDepth = 5;

function labGroups(folder: string, depth: number): string[] {
  return subfolders(folder).flatMap((child) => {
    if (/^hcl[0-9]+$/.test(basename(child))) return [child];
    return depth > 1 ? labGroups(child, depth - 1) : [];
  });
}

/**
 * Removes groups of labs that nobody names and in which nothing runs: a lab whose folder in the registry was removed by hand. The next lab
 * of that subnet may run below another group than that one did, and would never meet them.
 */
export function removeLeftGroups(isTaken: (lab: string) => boolean): void {
  for (const group of labGroups(root, searchDepth)) if (!isTaken(basename(group)) && processesIn(group).length === 0) removeTree(group);
}
