import type { NodeContext } from "../context.js";
import { diskUnits, type DiskReport } from "./disk-report.js";
import type { EtcdGuard } from "./etcd-guard.js";

/** What lies below `root` of this node. */
export async function lookAtDisk({ zfs }: Pick<NodeContext, "zfs">, root: string): Promise<DiskReport["units"]> {
  const [datasets, snapshots] = await Promise.all([zfs.datasets(root), zfs.allSnapshots(root)]);
  return diskUnits(root, datasets, snapshots);
}

/** `GET /peer/v1/disk`: live, from the first moment on. */
export function diskRoutes(context: Pick<NodeContext, "peerRoutes" | "cluster" | "host" | "zfs">, guard: Pick<EtcdGuard, "known">): void {
  context.peerRoutes.route("GET", "/peer/v1/disk", async (): Promise<DiskReport> => {
    // read before the disk: what is mounted after this belongs to this lineage
    const lineage = guard.known()?.lineage ?? 0;
    return { version: 1, node: context.host.node, lineage, units: context.cluster.dataset === "" ? [] : await lookAtDisk(context, context.cluster.dataset) };
  });
}
