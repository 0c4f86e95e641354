import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HcError } from "../lib/errors.js";

/**
 * Throws NOT_READY when nothing is mounted at `path`. Whoever writes there as root looks just before: the fencer, which is another process, may have unmounted it a moment ago, and what is written below an
 * empty mount point keeps the next mount from succeeding. (stat(2): a mounted file system has another device than the folder that it is mounted in.)
 */
export async function assertMountpoint(path: string): Promise<void> {
  const [here, above] = await Promise.all([stat(path), stat(dirname(path))]).catch((error: unknown) => {
    throw new HcError("NOT_READY", `${path} is not there.`, { cause: error });
  });
  if (here.dev === above.dev) throw new HcError("NOT_READY", `Nothing is mounted at ${path}: it was unmounted meanwhile.`);
}

/**
 * What lies in a folder that is to be mounted over, and is no mount, is put aside as `<folder of the mount point>/.aside/<name>-<UTC ms>`, not removed: nobody knows whose it is. Where it is now; "" when there was nothing.
 */
export async function putAside(path: string, wallMs: number): Promise<string> {
  const found = await readdir(path).catch(() => []);
  if (found.length === 0) return "";
  const [here, above] = await Promise.all([stat(path), stat(dirname(path))]);
  if (here.dev !== above.dev) return "";
  const folder = join(dirname(path), ".aside");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const aside = join(folder, `${path.split("/").at(-1)}-${Math.floor(wallMs)}`);
  await rename(path, aside);
  return aside;
}
