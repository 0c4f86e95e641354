import { lstat, readdir } from "node:fs/promises";

const slash = Buffer.from("/");
const batch = 16;

/** Bytes that an entry takes with all below it, as it lies on the disk (compressed, without holes). Links are not followed. `guard` is asked at each folder. */
export async function measureTree(path: string | Buffer, guard: () => Promise<void> | void): Promise<number> {
  const at = Buffer.from(path);
  const stats = await lstat(at);
  if (!stats.isDirectory()) return stats.isFile() ? Math.min(stats.size, stats.blocks * 512) : 512;
  await guard();
  const names = await readdir(at, { encoding: "buffer" });
  let sum = 512;
  for (let from = 0; from < names.length; from += batch) {
    const sizes = await Promise.all(names.slice(from, from + batch).map((name) => measureTree(Buffer.concat([at, slash, name]), guard)));
    sum += sizes.reduce((all, size) => all + size, 0);
  }
  return sum;
}
