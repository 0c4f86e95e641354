import type { EtcdStore } from "../state/etcd-store.js";
import type { EtcdConnection, EtcdEndpoint } from "../state/etcd-connection.js";
import type { RawMember } from "./etcd-commands.js";

/** etcd's member calls through the JSON gateway. All can be repeated; refusals come as HcError INTERNAL with etcd's text. */
export class EtcdCluster {
  public constructor(private readonly store: EtcdStore, private readonly connection: EtcdConnection) {}

  public async members(): Promise<RawMember[]> {
    return ((await this.store.read("/v3/cluster/member/list", {}, 3000))["members"] as RawMember[] | undefined) ?? [];
  }

  /** Adds this peer URL as a learner; the answer's `ID` is the new member's. */
  public async addLearner(peerUrl: string): Promise<{ id: string; members: RawMember[] }> {
    const answer = await this.store.call("/v3/cluster/member/add", { peerURLs: [peerUrl], isLearner: true }, 10_000, false);
    return { id: (answer["member"] as RawMember | undefined)?.ID ?? "", members: (answer["members"] as RawMember[] | undefined) ?? [] };
  }

  public async remove(id: string): Promise<void> {
    await this.store.call("/v3/cluster/member/remove", { ID: id }, 10_000, false);
  }

  /** Refused while the learner is not in step with the leader. */
  public async promote(id: string): Promise<void> {
    await this.store.call("/v3/cluster/member/promote", { ID: id }, 10_000, false);
  }

  /** The member at this endpoint answers and knows a leader. */
  public async status(endpoint: EtcdEndpoint, timeoutMs = 1000): Promise<{ leader: string; member: string; learner: boolean; dbSizeBytes: string; revision: string; etcdCluster: string }> {
    const answer = await this.connection.post(endpoint, "/v3/maintenance/status", {}, timeoutMs);
    const header = (answer["header"] ?? {}) as { member_id?: string; revision?: string; cluster_id?: string };
    return { leader: String(answer["leader"] ?? "0"), member: String(header.member_id ?? ""), learner: answer["isLearner"] === true, dbSizeBytes: String(answer["dbSize"] ?? "0"), revision: String(header.revision ?? "0"), etcdCluster: String(header.cluster_id ?? "0") };
  }

  /** Mean time of one fsync of the write-ahead log since `before` (etcd's own histogram), in ms; null when nothing was written. */
  public async fsync(endpoint: EtcdEndpoint): Promise<FsyncTotals> {
    return parseFsync(await this.connection.getText(endpoint, "/metrics", 2000));
  }
}

export interface FsyncTotals { seconds: number; count: number }

/** Pure: sum and count of `etcd_disk_wal_fsync_duration_seconds` in Prometheus text. */
export function parseFsync(text: string): FsyncTotals {
  const value = (name: string): number => Number(new RegExp(`^etcd_disk_wal_fsync_duration_seconds_${name} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
  return { seconds: value("sum"), count: value("count") };
}

/** Mean ms of the fsyncs between two looks; null when there was none. */
export function meanFsyncMs(before: FsyncTotals | undefined, now: FsyncTotals): number | null {
  const base = before === undefined || before.count > now.count ? { seconds: 0, count: 0 } : before;
  const count = now.count - base.count;
  return count <= 0 ? null : Math.round(((now.seconds - base.seconds) / count) * 100_000) / 100;
}
