import { randomUUID } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import { join } from "node:path";
import { HcError } from "../../../daemon/lib/errors.js";
import { readFileIfAny, writeFileAtomic } from "../../../daemon/lib/atomic-file.js";
import { lockFolder, type StackPlace } from "./paths.js";

interface LockContent {
  pid: number;
  username: string;
  hostname: string;
  timestamp: string;
}

export interface Lock {
  release(): Promise<void>;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Locks of others; those whose process is dead on this host are removed on the way. */
async function othersOf(place: StackPlace, mine: string): Promise<LockContent[]> {
  const folder = lockFolder(place);
  const result: LockContent[] = [];
  for (const name of await readdir(folder)) {
    if (!name.endsWith(".json") || name === mine) continue;
    const text = await readFileIfAny(join(folder, name));
    if (text === undefined) continue;
    const lock = JSON.parse(text) as LockContent;
    if (lock.hostname === hostname() && !isAlive(lock.pid)) await rm(join(folder, name), { force: true });
    else result.push(lock);
  }
  return result;
}

/** The CLI's protocol: write one's own lock, then look whether there is another. Throws LOCKED. */
export async function takeLock(place: StackPlace, time: Date): Promise<Lock> {
  const folder = lockFolder(place);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `${randomUUID()}.json`;
  const content: LockContent = { pid: process.pid, username: userInfo().username, hostname: hostname(), timestamp: time.toISOString() };
  await writeFileAtomic(join(folder, name), JSON.stringify(content), { mode: 0o600 });
  const release = (): Promise<void> => rm(join(folder, name), { force: true });
  const [other] = await othersOf(place, name);
  if (other !== undefined) {
    await release();
    throw new HcError("LOCKED", `Stack ${place.stack} is locked by ${other.username}@${other.hostname} (process ${other.pid}) since ${other.timestamp}. Wait for it to end; a lock of a process on another machine is removed with \`pulumi cancel\` or by deleting ${folder}.`);
  }
  return { release };
}
