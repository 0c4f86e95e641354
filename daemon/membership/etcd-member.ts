import { chown, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { writeFileAtomic, readFileIfAny } from "../lib/atomic-file.js";
import { runOk, type CommandRunner } from "../lib/command.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { Clock } from "../lib/clock.js";
import type { Logger } from "../lib/log.js";
import type { ClusterConfig, HostConfig } from "../lib/node-config.js";
import type { Platform } from "../platform/platform.js";
import type { EtcdEndpoint } from "../state/etcd-connection.js";
import { freshMs } from "../state/etcd-store.js";
import type { EtcdCluster } from "./etcd-cluster.js";
import { etcdArgv, etcdDefinition, type EtcdInitial, type RawMember, etcdPaths, etcdService, etcdUser, initialCluster, joinStep, peerUrl } from "./etcd-commands.js";
import { memberNode } from "./plan-voters.js";

export interface EtcdMemberOptions {
  host: HostConfig;
  cluster: ClusterConfig;
  platform: Platform;
  runner: CommandRunner;
  etcd: EtcdCluster;
  clock: Clock;
  log: Logger;
  /** Who votes (voters.ts): as this node knows, as etcd has it now, whether this node ever saw the cluster, and why the own member must not leave yet. */
  voters: { current(): readonly string[]; confirmed(): Promise<readonly string[]>; sawCluster(): boolean; leaveProblem(members: readonly RawMember[], id: string): string };
  /** ms since the sending of the last call about keys that the own member answered: it votes, and follows a leader. Default: it never did. */
  answeredAgoMs?(): number;
  /** Asks another voter's hcd about its etcd. Throws when it cannot be asked. */
  peerEtcd(node: string): Promise<PeerEtcd>;
}
/** `member`: its etcd was once part of this cluster. `forced`: how often etcd was begun anew there by a person's word (`hc quorum recover`). */
export interface PeerEtcd { member: boolean; forced: number }

const learnerPatienceMs = 60_000;
/** A voter that has nothing to do looks again after this time, ms; so many of these looks in a row rest upon the answers of its member to the session, each not older than `freshMs`. */
const lookMs = 5_000;
const restingLooks = 3;
/** A voter whose own etcd follows a leader asks the others this often whether etcd was begun anew there, ms; one that has none asks at each step. */
const overtakenMs = 20_000;

/**
 * Keeps this voter's etcd a voting member of the cluster (OWNERSHIP 16). Invariants:
 * 1. A new cluster is started only by voters[0], only when it never was a member, and only after every other voter has said that it never was one.
 * 2. What was done is noted (`etcd-initial.json`) before etcd starts; each step is found again from facts after a crash.
 * 3. A member whose data is lost is removed and added anew; it never comes back with an empty log under its old id.
 * 4. Data from before a recovery that another voter has been through is put aside: it would be a second cluster.
 */
export class EtcdMember {
  private problemText = "etcd was not started yet";
  private told = "";
  private begun = false;
  private turn: Promise<unknown> = Promise.resolve();
  private learner: { id: string; sinceMs: number } | undefined;
  /** When the other voters last said that etcd was not begun anew, monotonic ms. */
  private askedMs = Number.NEGATIVE_INFINITY;

  public constructor(private readonly options: EtcdMemberOptions) {}

  /** The nodes that shall vote, as this one knows. */
  public voters(): readonly string[] {
    return this.options.voters.current();
  }
  public isVoter(): boolean {
    return this.options.voters.current().includes(this.options.cluster.node);
  }

  /** Has this node a member, or is it about to? Also one that shall vote no more, until it has left. */
  public hasMember(): boolean {
    return this.begun || this.isVoter();
  }

  public problem(): string {
    return this.problemText;
  }

  public ownEndpoint(): EtcdEndpoint {
    return { node: this.options.cluster.node, address: "127.0.0.1", port: this.options.host.ports.etcdClient };
  }

  /** Was etcd of this node ever started for this cluster, or has it seen the cluster's state? Then there is one, and nobody may begin it. */
  public async knowsCluster(): Promise<boolean> {
    return this.options.voters.sawCluster() || (await this.readInitial()) !== undefined;
  }

  /** How often etcd was begun anew here by a person's word. */
  public async forced(): Promise<number> {
    return (await this.readInitial())?.forced ?? 0;
  }
  /** `act` with no step of this member's own between: for `hc quorum recover`. */
  public alone<T>(act: () => Promise<T>): Promise<T> {
    const result = this.turn.then(act);
    this.turn = result.catch(() => undefined);
    return result;
  }

  /** Starts what can be started at once, then repeats steps until this node votes, or until its member is gone when it shall not; afterwards watches that it stays so. */
  public async run(signal: AbortSignal): Promise<void> {
    let rested = 0;
    while (!signal.aborted) {
      let pauseMs = 200;
      if (this.problemText === "" && this.isVoter() && rested < restingLooks && (this.options.answeredAgoMs?.() ?? Number.POSITIVE_INFINITY) < freshMs) {
        rested += 1;
        await this.options.clock.sleep(lookMs, signal).catch(() => undefined);
        continue;
      }
      rested = 0;
      try {
        const step = await this.alone(() => (this.isVoter() ? this.step() : this.retire()));
        if (step === "none") {
          this.problemText = "";
          pauseMs = this.isVoter() ? lookMs : 1000;
        }
      } catch (error) {
        this.problemText = messageOf(error);
        if (messageOf(error) !== this.told) this.options.log.warn({ reason: messageOf(error) }, "etcd membership: not yet");
        this.told = messageOf(error);
        pauseMs = 500;
      }
      await this.options.clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  /** A node that does not vote takes its member out of the cluster, once those that shall vote do, then ends its etcd. */
  private async retire(): Promise<string> {
    const { etcd, cluster, log, voters } = this.options;
    if ((await this.readInitial()) === undefined) return "none";
    const members = await etcd.members();
    const mine = members.find((member) => memberNode(cluster.members)(member) === cluster.node);
    if (mine?.ID !== undefined) {
      const why = voters.leaveProblem(members, mine.ID);
      if (why !== "") throw new HcError("NOT_READY", `etcd: this node votes no more, and its member stays for now: ${why}.`);
      await etcd.remove(mine.ID);
    }
    await this.forget();
    log.info({ node: cluster.node }, "etcd: this node does not vote any more");
    return "retire";
  }

  /** One step towards being a voter; the name of what was done. */
  public async step(): Promise<string> {
    const { cluster, etcd, log } = this.options;
    const me = cluster.members.find((member) => member.node === cluster.node);
    if (me === undefined) throw new HcError("INTERNAL", `${cluster.node} is not in its own member list.`);
    const paths = etcdPaths(this.options.host);
    const initial = await this.readInitial();
    const hasData = await exists(`${paths.data}/member`);
    const status = await this.ownStatus();
    const follows = status !== undefined && status.leader !== "0";
    const overtaken = initial === undefined || (follows && this.options.clock.monotonicMs() - this.askedMs < overtakenMs) ? 0 : await this.overtakenBy(initial.forced ?? 0);
    if (overtaken > 0) {
      log.warn({ forced: overtaken }, "etcd was begun anew on another voter by a person's word: this node's data is put aside, and it joins that one");
      await this.options.platform.stopService(etcdService);
      await this.setAsideData();
      await rm(paths.initial, { force: true });
      return "set-aside";
    }
    // Known and with its data: start first, ask later; with two of three started like this a cluster that was off comes up.
    if (initial !== undefined && hasData && status === undefined) return this.start(initial);
    if (initial === undefined && cluster.voters[0] === cluster.node && (await this.mayBeginCluster())) {
      const fresh: EtcdInitial = { version: 1, clusterId: cluster.clusterId, state: "new", initialCluster: `${cluster.node}=${peerUrl(me)}`, memberId: "" };
      await this.setAsideData();
      await this.writeInitial(fresh);
      log.info({ node: cluster.node }, "etcd: starting a new cluster");
      return this.start(fresh);
    }
    // The first member, crashed between its note and its first start: nobody else can know a cluster yet.
    if (initial?.state === "new" && initial.started !== true && !hasData && (await this.mayBeginCluster())) return this.start(initial);
    if (this.options.voters.current().length === 1 && initial?.started === true && !hasData) throw new HcError("INTERNAL", `etcd's data on the only voter ${cluster.node} is lost (${paths.data}); bring it back from a backup. Sites that run go on; nothing is started anew from an empty state.`);
    const members = await etcd.members();
    const step = joinStep({ node: cluster.node, peerUrl: peerUrl(me), members, hasData, initial, running: status !== undefined });
    switch (step.do) {
      case "start": return this.start(initial as EtcdInitial);
      case "wait":
        await this.clearLearner(members);
        throw new HcError("NOT_READY", `etcd: ${step.why}.`);
      case "remove":
        log.warn({ member: step.id, why: step.why }, "etcd: removing this node's old member");
        await this.options.platform.stopService(etcdService);
        await etcd.remove(step.id);
        await this.setAsideData();
        return step.do;
      case "add": {
        // this node may have been away while its vote was given to another one
        if (!(await this.options.voters.confirmed()).includes(cluster.node)) throw new HcError("NOT_READY", `etcd: ${cluster.node} votes no more.`);
        await this.options.platform.stopService(etcdService);
        if (step.setAside) await this.setAsideData();
        const added = await etcd.addLearner(peerUrl(me));
        const next: EtcdInitial = { version: 1, clusterId: cluster.clusterId, state: "existing", initialCluster: initialCluster(cluster.node, peerUrl(me), added.members), memberId: added.id, forced: await this.overtakenBy(0) };
        await this.writeInitial(next);
        log.info({ node: cluster.node, member: added.id }, "etcd: joined as a learner");
        return this.start(next);
      }
      case "promote":
        await etcd.promote(step.id);
        log.info({ node: cluster.node }, "etcd: promoted to a voter");
        return step.do;
      case "none": return step.do;
    }
  }

  /** Ends etcd here and forgets it; for DELETE /v1/identity. The member is removed from a cluster that goes on, when that answers. */
  public async tearDown(): Promise<void> {
    const { cluster, etcd } = this.options;
    const initial = await this.readInitial();
    if (initial !== undefined) {
      const members = await etcd.members().catch(() => []);
      const mine = members.find((member) => member.name === cluster.node);
      if (mine?.ID !== undefined && members.length > 1) await etcd.remove(mine.ID).catch((error: unknown) => this.options.log.warn({ err: error }, "etcd: this node's member could not be removed"));
    }
    await this.forget();
  }

  private async forget(): Promise<void> {
    const { platform, host } = this.options;
    await platform.removeService(etcdService);
    const paths = etcdPaths(host);
    for (const path of [paths.data, `${paths.data}.old`, `${paths.data}.before-recover`, `${paths.data}.restored`, paths.pki, paths.initial]) await rm(path, { recursive: true, force: true });
    this.begun = false;
  }

  /** A learner that was added and never started for 60 s is of a node that died on the way; it would keep all others out. That node adds itself anew. */
  private async clearLearner(members: readonly RawMember[]): Promise<void> {
    const { clock, etcd, log } = this.options;
    const id = members.find((member) => member.isLearner === true && (member.name ?? "") === "")?.ID;
    if (id === undefined) this.learner = undefined;
    else if (this.learner?.id !== id) this.learner = { id, sinceMs: clock.monotonicMs() };
    else if (clock.monotonicMs() - this.learner.sinceMs > learnerPatienceMs) {
      log.warn({ member: id }, "etcd: removing a learner that never started");
      await etcd.remove(id);
    }
  }

  private async mayBeginCluster(): Promise<boolean> {
    const { cluster, voters } = this.options;
    if (voters.sawCluster()) return false;
    const others = cluster.voters.filter((voter) => voter !== cluster.node);
    const answers = await Promise.allSettled(others.map((other) => this.options.peerEtcd(other)));
    // one that knows a cluster is enough: it is joined, whoever else cannot be asked
    if (answers.some((answer) => answer.status === "fulfilled" && answer.value.member)) return false;
    for (const [at, answer] of answers.entries())
      if (answer.status === "rejected") throw new HcError("NOT_READY", `etcd: a new cluster is started only when every voter says that there was none before; ${others[at]} cannot be asked: ${messageOf(answer.reason)}`);
    // the only voter with a new disk: those that are no voters know that there was a cluster, as far as they answer
    const clients = cluster.members.filter(({ node }) => !cluster.voters.includes(node)).slice(0, 8);
    const seen = await Promise.all(clients.map(({ node }) => this.options.peerEtcd(node).then(({ member }) => member, () => false)));
    return seen.every((has) => !has);
  }

  /** The most often that a voter which answers has begun etcd anew, when that is more often than here; else 0. */
  private async overtakenBy(own: number): Promise<number> {
    const { cluster, peerEtcd, voters } = this.options;
    const asked = [...new Set([...cluster.voters, ...voters.current()])].filter((voter) => voter !== cluster.node);
    const askedMs = this.options.clock.monotonicMs();
    const answers = await Promise.all(asked.map((voter) => peerEtcd(voter).then(({ member, forced }) => (member ? forced : 0), () => undefined)));
    if (!answers.includes(undefined)) this.askedMs = askedMs;
    const most = Math.max(0, ...answers.filter((answer) => answer !== undefined));
    return most > own ? most : 0;
  }

  /** undefined: it does not answer. */
  private async ownStatus(): Promise<{ leader: string } | undefined> {
    return this.options.etcd.status(this.ownEndpoint(), 1500).catch(() => undefined);
  }

  private async start(initial: EtcdInitial): Promise<string> {
    const { host, cluster, platform, runner, clock } = this.options;
    const paths = etcdPaths(host);
    const owner = await etcdOwner(runner);
    await mkdir(host.paths.state, { recursive: true });
    for (const folder of [paths.data, paths.pki]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chown(folder, owner.uid, owner.gid);
    }
    for (const file of ["ca.crt", "node.crt", "node.key"]) await writeFileAtomic(`${paths.pki}/${file}`, await readFile(`${host.paths.etc}/pki/${file}`), { mode: 0o600, ...owner });
    const argv = etcdArgv(await etcdBinary(), host, cluster, initial);
    const changed = await platform.defineService(etcdDefinition(argv));
    const state = (await platform.serviceStates(etcdService)).get(etcdService);
    if (changed || state === "failed") await platform.restartService(etcdService);
    else await platform.startService(etcdService);
    const end = clock.monotonicMs() + 15_000;
    while ((await this.ownStatus()) === undefined) {
      if (clock.monotonicMs() > end) throw new HcError("NOT_READY", "etcd was started but does not answer yet; `journalctl -u hcd-etcd` tells why.");
      await clock.sleep(100);
    }
    if (initial.started !== true) await this.writeInitial({ ...initial, started: true });
    return "start";
  }

  private async setAsideData(): Promise<void> {
    const { data } = etcdPaths(this.options.host);
    if (!(await exists(data))) return;
    await rm(`${data}.old`, { recursive: true, force: true }); // etcd's own files, at most one old set is kept
    await rename(data, `${data}.old`);
  }

  private async readInitial(): Promise<EtcdInitial | undefined> {
    const text = await readFileIfAny(etcdPaths(this.options.host).initial);
    const found = text === undefined ? undefined : (JSON.parse(text) as EtcdInitial);
    const own = found?.clusterId === this.options.cluster.clusterId ? found : undefined;
    this.begun = own !== undefined;
    return own;
  }

  private writeInitial(initial: EtcdInitial): Promise<void> {
    return writeFileAtomic(etcdPaths(this.options.host).initial, JSON.stringify(initial), { mode: 0o600 });
  }
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);

async function etcdOwner(runner: CommandRunner): Promise<{ uid: number; gid: number }> {
  const result = await runner.run(["id", "-u", etcdUser], { timeoutMs: 5000 });
  if (result.code !== 0) throw new HcError("NOT_FOUND", `The user ${etcdUser} does not exist on this node; run \`hc up\`, which prepares hosts.`);
  const gid = await runOk(runner, ["id", "-g", etcdUser], { timeoutMs: 5000 });
  return { uid: Number(result.stdout.trim()), gid: Number(gid.trim()) };
}

/** FreeBSD's package installs to /usr/local/bin. */
async function etcdBinary(): Promise<string> {
  for (const path of ["/usr/bin/etcd", "/usr/local/bin/etcd"]) if (await exists(path)) return path;
  throw new HcError("COMMAND_NOT_FOUND", "etcd is not installed on this node; run `hc up`, which prepares hosts.");
}
