import { messageOf } from "../lib/errors.js";
import type { ObservedNode } from "../lib/records.js";
import { type EtcdStore, freshMs } from "../state/etcd-store.js";
import { type EtcdCluster, type FsyncTotals, meanFsyncMs } from "./etcd-cluster.js";
import type { EtcdMember } from "./etcd-member.js";

/** Looks in a row that may rest upon what a member has just answered. */
const restingLooks = 4;

type Seen = ObservedNode["etcd"] & { why: string };

/** How etcd is, seen from this node: the own member's role and leader for voters, whether any member answers for clients. */
export class EtcdHealth {
  private seen: Seen = { role: "client", healthy: false, fsyncMs: null, why: "not looked yet" };
  private totals: FsyncTotals | undefined;
  private looks = 0;
  private rested = 0;

  public constructor(private readonly options: { etcd: Pick<EtcdCluster, "status" | "fsync">; member: Pick<EtcdMember, "hasMember" | "ownEndpoint">; store: Pick<EtcdStore, "endpoints" | "answeredAgoMs" | "preferFirst"> }) {}

  public last(): Seen {
    return this.seen;
  }

  public async look(): Promise<void> {
    const { etcd, member, store } = this.options;
    const role = member.hasMember() ? "voter" : "client";
    // the session's own calls have just shown it
    if (this.seen.healthy && this.seen.role === role && this.rested < restingLooks && store.answeredAgoMs(role === "voter" ? member.ownEndpoint().node : undefined) < freshMs) {
      this.rested += 1;
      return;
    }
    this.rested = 0;
    try {
      if (role === "client") {
        const endpoint = store.endpoints()[this.looks++ % Math.max(1, store.endpoints().length)];
        if (endpoint === undefined) throw new Error("no voter is known");
        const status = await etcd.status(endpoint);
        this.seen = { role: "client", healthy: status.leader !== "0", fsyncMs: null, why: status.leader === "0" ? "there is no leader" : "" };
        return;
      }
      const status = await etcd.status(member.ownEndpoint());
      // The histogram is read every third time: it is 60 KB of text.
      if (this.looks++ % 3 === 0) {
        const now = await etcd.fsync(member.ownEndpoint());
        const mean = meanFsyncMs(this.totals, now);
        this.totals = now;
        if (mean !== null) this.seen = { ...this.seen, fsyncMs: mean };
      }
      const healthy = status.leader !== "0";
      // a node's calls that have gone on to another voter would never come back, and say nothing of the own one
      if (healthy && !status.learner && this.seen.healthy && store.endpoints()[0]?.node === member.ownEndpoint().node) store.preferFirst();
      this.seen = { role: status.learner ? "learner" : "voter", healthy, fsyncMs: this.seen.fsyncMs, why: healthy ? "" : "there is no leader" };
    } catch (error) {
      this.seen = { ...this.seen, role: member.hasMember() ? this.seen.role : "client", healthy: false, why: messageOf(error) };
    }
  }
}
