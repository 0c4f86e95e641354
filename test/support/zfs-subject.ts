import { createZfs } from "../../daemon/zfs/create-zfs.js";
import type { ZfsSubject } from "../contract/zfs.js";
import type { TestNode } from "./lab.js";

/** A lab node with a fresh pool on its first disk, seen as a subject of the ZFS contract. */
export async function labSubject(node: TestNode, pool: string): Promise<ZfsSubject> {
  await node.sh(`disk=$(ls /disks/*.img | head -1); zpool create -f -O atime=off -m /${pool} ${pool} "$disk"`);
  const zfs = createZfs(node.runner);
  const mountpoint = async (dataset: string): Promise<string> => (await zfs.datasets(dataset))[0]?.mountpoint ?? "";
  return {
    zfs,
    root: pool,
    async write(dataset, file, text) {
      const path = await mountpoint(dataset);
      await node.ok(["dd", `of=${path}/${file}`, "conv=fsync", "status=none"], { input: text });
    },
    async read(dataset, file) {
      const result = await node.exec(["cat", `${await mountpoint(dataset)}/${file}`]);
      return result.code === 0 ? result.stdout : undefined;
    },
  };
}
