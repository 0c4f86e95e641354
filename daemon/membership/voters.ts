import { rm } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import { type Clock, sleepUntilTick } from "../lib/clock.js";
import { messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import type { ClusterConfig, HostConfig } from "../lib/node-config.js";
import { keys, recordVersion, type VotersRecord } from "../lib/records.js";
import { clusterSpecOf } from "../placement/candidates.js";
import type { EtcdEndpoint } from "../state/etcd-connection.js";
import type { EtcdStore } from "../state/etcd-store.js";
import { type ClusterState, precedes, type View } from "../state/cluster-state.js";
import type { EtcdCluster } from "./etcd-cluster.js";
import { etcdEndpoints } from "./etcd-endpoints.js";
import type { Leader } from "./leader.js";
import type { Liveness } from "./liveness.js";
import { defaultReplaceAfterMs, effectiveVoters, memberNode, memberToRemove, planSeat, removalProblem, type VoterWish } from "./plan-voters.js";
import type { RawMember } from "./etcd-commands.js";

const lookMs = 2_000;
/** The leader looks through etcd's members this often, ms; sooner when who votes, lives or shall vote has changed, or while one has to leave. */
const membersMs = 10_000;
/** So long without a commit: perhaps all voters that this node knows were replaced while it was away, so it asks every member. */
const lostMs = 10_000;
const widenedMs = 30_000;

export interface VotersOptions {
  host: HostConfig;
  cluster: ClusterConfig;
  store: Pick<EtcdStore, "get" | "txn" | "setEndpoints">;
  etcd: Pick<EtcdCluster, "members" | "remove">;
  view: View;
  leader: Pick<Leader, "guard">;
  liveness: Pick<Liveness, "alive">;
  clock: Clock;
  log: Logger;
  event(unit: string, event: string, detail: string): void;
  /** ms since the own session's last commit. */
  silentMs(): number;
}
/** `<state>/voters.json`: what was last known, so that a restart without etcd knows where to ask, and that there was a cluster. */
interface Kept { version: 1; clusterId: string; seats: Record<string, string> }

/**
 * Who votes in etcd: the program's voters, but for seats that were given to another node because their own is gone. Every node follows `/hc/voters` (its endpoints, its own
 * member: etcd-member.ts); the leader gives seats away and takes members out that have none. Everything is decided by plan-voters.ts.
 */
export class Voters {
  private kept: Kept | undefined;
  private text = "";
  private shownEndpoints = "";
  private widenedUntilMs = Number.NEGATIVE_INFINITY;
  /** Leader: since when a node has been no voting one, monotonic ms. */
  private readonly down = new Map<string, number>();
  private told = "";
  /** Whom the leader last found nothing to do for, and when. */
  private settled = { text: "", atMs: Number.NEGATIVE_INFINITY };
  public replaced = 0;
  private readonly startedMs: number;

  public constructor(private readonly options: VotersOptions) {
    this.startedMs = options.clock.monotonicMs();
  }

  private get file(): string {
    return `${this.options.host.paths.state}/voters.json`;
  }

  public async load(): Promise<void> {
    const text = await readFileIfAny(this.file);
    const found = text === undefined ? undefined : (JSON.parse(text) as Kept);
    if (found?.version === 1 && found.clusterId === this.options.cluster.clusterId) {
      this.kept = found;
      this.text = text as string;
    }
    this.showEndpoints();
  }

  /** Has this node ever seen this cluster's state? Then nobody may begin it anew. */
  public sawCluster(): boolean {
    return this.kept !== undefined;
  }

  public current(): string[] {
    return effectiveVoters(this.wish(this.kept));
  }

  /** The wish as etcd has it now, not as this node last saw it. Throws what the store throws. */
  public async confirmed(): Promise<string[]> {
    const found = await this.options.store.get(keys.voters);
    return effectiveVoters(this.wish(found === undefined ? undefined : (JSON.parse(found.value) as VotersRecord)));
  }

  /** Why the own member must not leave now, "" when it may. */
  public leaveProblem(etcd: readonly RawMember[], id: string): string {
    const facts = this.facts(etcd);
    const next = memberToRemove(facts);
    if (next === undefined) return "";
    if ("why" in next) return next.why;
    return next.id === id ? "" : removalProblem(etcd, id, facts.nodeOf, facts.voting) || `${next.node} goes first`;
  }

  public async run(signal: AbortSignal): Promise<void> {
    const end = this.options.view.onChange((state) => this.follow(state));
    try {
      while (!signal.aborted) {
        await this.look().catch((error: unknown) => this.tell(messageOf(error)));
        await sleepUntilTick(this.options.clock, lookMs, signal);
      }
    } finally {
      end();
      await this.keep().catch(() => undefined); // a start without it asks the program's voters, then all members
    }
  }

  /** The node leaves the cluster. */
  public async forget(): Promise<void> {
    await rm(this.file, { force: true });
  }

  /** One look: endpoints, and the leader's part. */
  public async look(): Promise<void> {
    const { clock, leader, view } = this.options;
    const silentMs = Math.min(this.options.silentMs(), clock.monotonicMs() - this.startedMs);
    if (silentMs > lostMs) this.widenedUntilMs = clock.monotonicMs() + widenedMs;
    this.showEndpoints();
    this.follow(view.current());
    await this.keep();
    const guard = leader.guard();
    if (guard === undefined) {
      this.settled = { text: "", atMs: Number.NEGATIVE_INFINITY };
      return this.down.clear();
    }
    const state = view.current();
    if (precedes(state, guard)) return;
    await this.lead(state, guard);
  }

  private follow(state: ClusterState): void {
    const { cluster } = this.options;
    const next: Kept = { version: 1, clusterId: cluster.clusterId, seats: { ...state.voters?.value.seats } };
    if (JSON.stringify(next) === JSON.stringify(this.kept)) return;
    this.kept = next;
    this.showEndpoints();
  }

  /** On the disk too; one write at a time, since only the loop does it. */
  private async keep(): Promise<void> {
    const text = JSON.stringify(this.kept);
    if (text === this.text || this.kept === undefined) return;
    this.text = text;
    await writeFileAtomic(this.file, text, { mode: 0o600 }).catch((error: unknown) => {
      this.text = "";
      throw error;
    });
  }

  private wish(kept: Pick<Kept, "seats"> | undefined): VoterWish {
    const { cluster } = this.options;
    return { configured: cluster.voters, members: cluster.members, seats: kept?.seats ?? {} };
  }

  private showEndpoints(): void {
    const { cluster, store, clock } = this.options;
    const voters = this.current();
    const known = etcdEndpoints(cluster, voters);
    const rest: EtcdEndpoint[] = clock.monotonicMs() < this.widenedUntilMs ? cluster.members.filter(({ node }) => !voters.includes(node) && node !== cluster.node).map((member) => ({ node: member.node, address: member.addresses[0] ?? member.node, port: member.ports.etcdClient })) : [];
    const list = [...known, ...rest];
    const text = JSON.stringify(list);
    if (text === this.shownEndpoints) return;
    this.shownEndpoints = text;
    store.setEndpoints(list);
  }

  private facts(etcd: readonly RawMember[]) {
    const { cluster, view, liveness } = this.options;
    const state = view.current();
    const alive = liveness.alive(state);
    const voting = new Set([...alive].filter((node) => votes(state, node)));
    return { state, etcd, nodeOf: memberNode(cluster.members), effective: this.current(), alive, voting };
  }

  private async lead(state: ClusterState, guard: { key: string; modRevision: string }): Promise<void> {
    const { store, etcd, clock, log, cluster, event } = this.options;
    const { alive, voting } = this.facts([]);
    const now = clock.monotonicMs();
    for (const { node } of cluster.members) {
      if (voting.has(node)) this.down.delete(node);
      else if (!this.down.has(node)) this.down.set(node, now);
    }
    const replaceAfterS = clusterSpecOf(state)?.settings.etcd.replaceAfterS;
    const change = planSeat({
      ...this.wish(this.kept), members: cluster.members, drained: new Set(state.drains?.keys() ?? []), removed: new Set(state.removals?.keys() ?? []), alive, voting,
      downMs: (node) => now - (this.down.get(node) ?? now), replaceAfterMs: replaceAfterS === undefined ? defaultReplaceAfterMs : replaceAfterS * 1000,
    });
    if (change !== undefined) {
      const record: VotersRecord = { version: recordVersion, seats: change.seats };
      const { succeeded } = await store.txn([guard, { key: keys.voters, modRevision: state.voters?.revision ?? "0" }], [{ put: keys.voters, value: JSON.stringify(record) }]);
      if (!succeeded) return;
      // whoever takes a seat has the whole time to begin to vote
      if (change.to !== "") this.down.set(change.to, now);
      this.replaced += 1;
      log.warn({ seat: change.seat, from: change.from, to: change.to }, "etcd: a vote is given to another node");
      event("", "voter-replaced", change.to === "" ? `${change.from} votes in etcd no more, and no other node can` : `${change.to} votes in etcd instead of ${change.from === "" ? "nobody" : change.from}`);
      return;
    }
    const text = JSON.stringify([this.current(), [...alive].sort(), [...voting].sort()]);
    if (text === this.settled.text && now - this.settled.atMs < membersMs) return;
    const members = await etcd.members();
    const leaving = memberToRemove(this.facts(members));
    if (leaving === undefined) {
      this.settled = { text, atMs: now };
      return this.tell("");
    }
    if ("why" in leaving) return this.tell(leaving.why);
    await etcd.remove(leaving.id);
    log.warn({ member: leaving.id, node: leaving.node }, "etcd: a member without a vote is taken out");
    event("", "voter-removed", `${leaving.node === "" ? "a member that never started" : leaving.node} is no member of etcd any more`);
  }

  private tell(text: string): void {
    if (text !== this.told && text !== "") this.options.log.info({ reason: text }, "etcd's members cannot be changed yet");
    this.told = text;
  }
}

/** Does this node's etcd vote, by its own last word? Says nothing of whether the node lives. */
export function votes(state: ClusterState, node: string): boolean {
  const etcd = state.observedNodes.get(node)?.etcd;
  return etcd?.role === "voter" && etcd.healthy;
}
