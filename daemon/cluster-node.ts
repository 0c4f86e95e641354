import { Alerts } from "./alerts/alerts.js";
import { alertRoutes } from "./alerts/routes.js";
import { Blobs, blobRoutes } from "./api/blob-routes.js";
import { clusterRoutes } from "./api/cluster-routes.js";
import { startControlServer } from "./api/control-server.js";
import { isListed, networkList } from "./lib/networks.js";
import { findDebris } from "./api/debris.js";
import { documentRoutes } from "./api/documents.js";
import { EventWriter } from "./api/events.js";
import { metricsText, type Sample } from "./api/metrics.js";
import { startMetricsServer } from "./api/metrics-server.js";
import { ownSamples, pictureSamples } from "./api/node-samples.js";
import { PeerClient } from "./api/peers.js";
import { recordRoutes } from "./api/record-routes.js";
import { Router } from "./api/router.js";
import { buildStatus } from "./api/status.js";
import { Acme } from "./certificates/acme.js";
import { certificateRoutes } from "./certificates/routes.js";
import { TicketKeys } from "./certificates/ticket-keys.js";
import type { NodeContext, Running } from "./context.js";
import { Failover } from "./failover/failover.js";
import { fenceRoutes } from "./failover/fence-routes.js";
import { failoverRoutes } from "./failover/routes.js";
import { Failsafe } from "./failsafe/failsafe.js";
import { FenceKeeper } from "./fencer/fence-keeper.js";
import { pauseMs } from "./lib/backoff.js";
import { type Clock, sleepUntilTick } from "./lib/clock.js";
import type { CommandRunner } from "./lib/command.js";
import { Locks } from "./lib/locks.js";
import { HcError, messageOf } from "./lib/errors.js";
import type { Logger } from "./lib/log.js";
import { createSealer, type Sealer } from "./lib/sealed.js";
import type { ClusterConfig, HostConfig, Identity } from "./lib/node-config.js";
import { keys, type NodeRecord, recordVersion } from "./lib/records.js";
import type { Status } from "./lib/status.js";
import { DiskProbe } from "./membership/disk-probe.js";
import { etcdEndpoints } from "./membership/etcd-endpoints.js";
import { keepReserve } from "./membership/reserve.js";
import { EtcdCluster } from "./membership/etcd-cluster.js";
import { EtcdHealth } from "./membership/etcd-health.js";
import { EtcdMember } from "./membership/etcd-member.js";
import { Leader } from "./membership/leader.js";
import { Links, pingRoute } from "./membership/links.js";
import { Liveness } from "./membership/liveness.js";
import { nodeFacts } from "./membership/node-facts.js";
import { NodePublisher } from "./membership/observed-node.js";
import { NodeSession, waitLive } from "./membership/session.js";
import { Voters } from "./membership/voters.js";
import type { AgentPart, IsAlive, Parts, Sampled } from "./parts.js";
import { drainRoutes } from "./placement/drain-routes.js";
import { removalRoutes } from "./placement/removal-routes.js";
import { planCluster } from "./placement/plan-cluster.js";
import { Planner } from "./placement/planner.js";
import type { Replication } from "./replication/replication.js";
import { Gates } from "./proxy/gates.js";
import { adoptRoutes } from "./recovery/adopt-routes.js";
import { diskRoutes } from "./recovery/disk-routes.js";
import { EtcdGuard } from "./recovery/etcd-guard.js";
import { MemoryFile, memoryPath } from "./recovery/etcd-memory.js";
import { quorumRoutes } from "./recovery/quorum-routes.js";
import { Recovery } from "./recovery/recovery.js";
import { trustedSession } from "./recovery/trusted-session.js";
import { EtcdConnection } from "./state/etcd-connection.js";
import { EtcdStore } from "./state/etcd-store.js";
import { WatchedView } from "./state/view.js";
import { hcdVersion } from "./version.js";
import { noticed, ZfsChanges } from "./zfs/changes.js";

export interface ClusterNodeOptions { host: HostConfig; cluster: ClusterConfig; pki: Identity["pki"]; log: Logger; runner: CommandRunner; parts: Parts; clock: Clock; api: Router; sha256: string; /** Ends the process, to be started anew by its supervisor. */ restart?(why: string): void }
/** `forced`, `memory`: missing before version 0.2. */
interface PeerAnswer { member: boolean; forced?: number; memory?: unknown }

/**
 * This node's part of a cluster. Start order and why:
 * 1. Control port: a new voter asks the others over it, before any etcd runs.
 * 2. etcd (voters), then the store, which every node uses as a client.
 * 3. Session: no write of any mechanism without a sign of life; the view, from which all plans are made.
 * 4. The node's record and what is observed of it: others can reach and judge it.
 * 5. Base services, then replication, then the agent (it sends through replication), then migration.
 * 6. Leader and planner: on every node, at work on one.
 * 7. The proxy last: it gets routes of what the agent has started. After a session that was handed over it comes before everything else: what the table of the process before had
 *    open stays open, and the workers must have the next deadline before the last one of the process before passes.
 * Each step is repeated until it succeeds; the API says meanwhile why the node is not ready. Stopping goes the other way round and
 * leaves sites, mounts, etcd and proxy workers as they are.
 */
export class ClusterNode {
  public readonly platform: NodeContext["platform"];
  public readonly zfs: NodeContext["zfs"];
  private readonly aborter = new AbortController();
  private readonly connection: EtcdConnection;
  private readonly etcd: EtcdCluster;
  private readonly member: EtcdMember;
  private readonly voters: Voters;
  private readonly session: NodeSession;
  private readonly view: WatchedView;
  private readonly leader: Leader;
  private readonly liveness: Liveness;
  private readonly peers: PeerClient;
  private readonly apiScope: ReturnType<Router["scope"]>;
  private readonly context: NodeContext;
  private readonly running: Running[] = [];
  private readonly loops: Promise<unknown>[] = [];
  private readonly waiting = new Map<string, string>();
  private readonly sampled: Sampled[] = [];
  private readonly events: EventWriter;
  private readonly health: EtcdHealth;
  private readonly probe: DiskProbe;
  private readonly fence: FenceKeeper;
  /** The sign of life goes on until all parts have stopped: the next process has the whole time to its first one. */
  private readonly beating = new AbortController();
  private beats: Promise<void> | undefined;
  private readonly links: Links;
  private readonly peerRouter: Router;
  private readonly publisher: NodePublisher;
  private readonly planner: Planner;
  private readonly failover: Failover;
  private readonly recovery: Recovery;
  private readonly guard: EtcdGuard;
  private readonly failsafe: Failsafe;
  private readonly sealer: Sealer | undefined;
  private readonly alerts: Alerts;
  private readonly tickets: TicketKeys;
  private readonly acme: Acme;
  private replication: Replication | undefined;
  private agent: AgentPart | undefined;
  /** Are all routes there that this node will have? */
  private complete = false;

  public constructor(private readonly options: ClusterNodeOptions) {
    const { host, cluster, pki, log, runner, parts, clock } = options;
    const { platform, zfs: plainZfs, services } = parts.create(host, cluster, runner, log);
    const changes = new ZfsChanges();
    const zfs = noticed(plainZfs, changes, () => clock.monotonicMs());
    this.platform = platform;
    this.zfs = zfs;
    const tls = { ca: pki.ca, cert: pki.nodeCert, key: pki.nodeKey };
    this.connection = new EtcdConnection(tls);
    const store = new EtcdStore(this.connection, etcdEndpoints(cluster, cluster.voters));
    const etcd = new EtcdCluster(store, this.connection);
    this.etcd = etcd;
    this.peers = new PeerClient(tls, (node) => {
      const member = cluster.members.find((one) => one.node === node);
      return member === undefined ? undefined : { addresses: member.addresses, port: member.ports.control };
    });
    const askEtcd = (node: string, timeoutMs: number): Promise<PeerAnswer> => this.peers.call<PeerAnswer>(node, "GET", "/peer/v1/etcd", undefined, { timeoutMs });
    this.guard = new EtcdGuard({
      node: host.node, clusterId: cluster.clusterId, file: new MemoryFile(memoryPath(host.paths.state), cluster.clusterId), store, clock, log,
      others: (timeoutMs) => Promise.all(cluster.members.filter(({ node }) => node !== host.node).map(({ node }) => askEtcd(node, timeoutMs).then(({ memory }) => memory, none))),
      generation: () => this.session.generation,
      broken: (why) => this.restart(why),
    });
    this.probe = cluster.dataset === "" ? new DiskProbe(`${host.paths.state}/.probe`, clock) : DiskProbe.onMount(`${host.paths.data}/.hcd-probe`, clock);
    this.fence = new FenceKeeper({ run: host.paths.run, ...(host.watchdog === undefined ? {} : { watchdog: host.watchdog.device }), bootId: () => platform.bootId(), clock, log, event: (unit, event, detail) => this.events.add(unit, event, detail) });
    this.session = new NodeSession({ node: host.node, store, clock, log, diskProblem: () => this.fence.problem() || this.probe.problem(), fence: this.fence, knownGeneration: () => this.guard.known()?.generation ?? 0 });
    this.view = new WatchedView(store, log);
    this.liveness = new Liveness(clock, () => this.session.live());
    this.leader = new Leader({ node: host.node, store, view: this.view, session: this.session, liveness: this.liveness, clock, log });
    this.events = new EventWriter(store, host.node, clock, log);
    this.voters = new Voters({ host, cluster, store, etcd, view: this.view, leader: this.leader, liveness: this.liveness, clock, log, event: (unit, event, detail) => this.events.add(unit, event, detail), silentMs: () => this.session.silentMs() });
    this.member = new EtcdMember({ host, cluster, platform, runner, etcd, clock, log, voters: this.voters, answeredAgoMs: () => store.answeredAgoMs(host.node), peerEtcd: async (node) => {
      const { member, forced = 0 } = await askEtcd(node, 3000);
      return { member, forced };
    } });
    this.peerRouter = new Router(log, () => this.starting());
    this.apiScope = options.api.scope();
    this.sealer = pki.sealKey === undefined ? undefined : createSealer(pki.sealKey);
    this.context = {
      host, cluster, log, clock, runner, platform, zfs, changes, store, services,
      view: this.view, session: trustedSession(this.session, this.guard, this.view), fence: this.fence, unitLocks: new Locks(), peers: this.peers, peerRoutes: this.peerRouter, apiRoutes: this.apiScope,
      gates: new Gates(clock),
      sealer: this.sealer,
      event: (unit, event, detail) => this.events.add(unit, event, detail),
      signal: this.aborter.signal,
    };
    this.links = new Links({ node: host.node, peers: this.peers, clock, others: () => cluster.members.map((one) => one.node).filter((node) => node !== host.node) });
    this.health = new EtcdHealth({ etcd, member: this.member, store });
    this.publisher = new NodePublisher({ node: host.node, store, clock, log, facts: nodeFacts(this.context, { health: this.health, links: this.links, problems: () => [...this.problems(), ...this.fence.problems()], watchdog: () => this.fence.watchdog()?.state, unitsAtMs: () => Math.min(this.agent?.publishedAtMs?.() ?? 0, this.replication?.lookedAtMs() ?? Number.POSITIVE_INFINITY), templates: () => this.agent?.templates?.() }) });
    this.planner = new Planner({ context: this.context, leader: this.leader, liveness: this.liveness });
    this.recovery = new Recovery({ context: this.context, leader: this.leader });
    quorumRoutes({ context: this.context, etcd, member: this.member, guard: this.guard, endpoints: () => store.endpoints(), restart: (why) => this.restart(why) });
    this.failover = new Failover({ context: this.context, leader: this.leader, liveness: this.liveness });
    this.alerts = new Alerts({ context: this.context, leader: this.leader, liveness: this.liveness, sealer: this.sealer, waits: () => this.failover.waits() });
    this.tickets = new TicketKeys({ context: this.context, leader: this.leader });
    this.acme = new Acme({ context: this.context, leader: this.leader, liveness: this.liveness });
    this.failsafe = new Failsafe({ context: this.context, session: this.session, diskProblem: () => this.fence.problem() || this.probe.problem() });
  }

  /** Returns when the control port and the API serve; the rest goes on by itself. */
  public async start(): Promise<void> {
    const { host, cluster, pki, log, clock, parts } = this.options;
    const { context } = this;
    const { signal } = this.aborter;
    pingRoute(this.peerRouter, host.node);
    this.peerRouter.route("GET", "/peer/v1/etcd", async (): Promise<PeerAnswer> => ({ member: await this.member.knowsCluster(), forced: await this.member.forced(), memory: this.guard.known() }));
    diskRoutes(context, this.guard);
    const blobs = new Blobs(`${host.paths.state}/blobs`);
    await blobs.clearParts();
    blobRoutes(this.apiScope, this.peerRouter, blobs);
    documentRoutes(this.apiScope, context.store, () => cluster.members.filter((member) => member.role === "node").length, context.event, this.sealer);
    recordRoutes(this.apiScope, context.store, this.view);
    clusterRoutes(context, { status: () => this.status(), notReady: () => this.notReady(), samples: () => this.samples(), debris: () => findDebris(context) });
    // that somebody declared it dead is no sign of a node's life
    failoverRoutes(context, this.failover);
    alertRoutes(context, this.alerts);
    certificateRoutes(context);
    drainRoutes(context);
    removalRoutes(context, { members: () => this.etcd.members(), alive: () => this.liveness.alive(this.view.current()), problems: () => this.planned(this.liveness.alive(this.view.current())) });
    adoptRoutes(context, {
      isAlive: (node) => this.liveness.isAlive(this.view.current(), node),
      stashTail: async (unit, record) => {
        if (this.replication === undefined) throw new HcError("NOT_READY", `replication on ${host.node} has not started yet; nothing of ${unit} is stashed.`);
        return this.replication.stashTail(unit, record);
      },
    });
    fenceRoutes(context, (state, node) => this.liveness.isAlive(state, node));
    this.view.onSession((nodes) => this.liveness.seen(nodes.filter((node) => this.view.current().sessions.get(node)?.value.dead !== true)));

    const isAlive: IsAlive = (state, node) => this.liveness.isAlive(state, node);
    const isMember = (node: string): boolean => cluster.members.some((one) => one.node === node);
    const control = this.stage("control port", () => startControlServer({ port: host.ports.control, tls: { ca: pki.ca, cert: pki.nodeCert, key: pki.nodeKey }, isMember, isMemberAddress: (address) => isListed(networkList(cluster.members.flatMap(({ addresses }) => addresses)), address), router: this.peerRouter, log }));
    await this.voters.load();
    await this.fence.begin();
    // no sign of life before etcd was compared with what is remembered of it
    this.beats = this.guard.begin(this.beating.signal).then(() => this.session.run(this.beating.signal));
    this.loops.push(this.guard.run(signal));
    this.view.onChange((state) => void this.guard.joined(state.recovery?.value).catch(() => undefined)); // at the next change again
    const { metrics } = host.ports;
    if (metrics !== undefined) this.loops.push(this.stage("metrics port", () => startMetricsServer({ port: metrics, text: () => metricsText(this.samples()), nowMs: () => clock.monotonicMs() })));
    this.loops.push(control, this.probe.run(signal), this.member.run(signal), this.voters.run(signal), this.events.run(signal), this.ticks());
    this.loops.push(
      (async () => {
        await control;
        await this.view.start(signal);
        await this.stage("session", () => waitLive(this.session, clock, signal).then(none));
        if (signal.aborted) return;
        const proxy = (): Promise<void> => this.stage("proxy", () => parts.startProxy(context)).then((part) => void (part !== undefined && this.sampled.push(part)));
        const early = this.session.isInherited && cluster.dataset !== "" ? proxy() : undefined;
        await this.stage("node record", () => this.publishRecord().then(none));
        this.loops.push(this.publisher.run(signal), this.links.run(signal), this.leader.run(signal), this.planner.run(signal), this.failover.run(signal), this.failsafe.run(signal), this.recovery.run(signal), this.alerts.run(signal), this.tickets.run(signal), this.acme.run(signal));
        this.view.onChange(() => this.publisher.nudgeWhen(this.view.current().templates));
        if (cluster.dataset === "") return; // a witness carries nothing
        await keepReserve(this.zfs, cluster.dataset, log);
        await this.stage("base services", () => context.services.ensureBase().then(none));
        const replication = await this.stage("replication", () => parts.startReplication(context));
        if (replication === undefined) return;
        this.replication = replication;
        this.sampled.push(replication);
        const agent = await this.stage("agent", () => parts.startAgent(context, replication, isAlive));
        if (agent === undefined) return;
        this.agent = agent;
        this.sampled.push(agent);
        const migration = await this.stage("migration", () => parts.startMigration(context, replication, agent, isAlive));
        this.planner.mover = migration?.move.bind(migration);
        if (migration !== undefined) this.sampled.push(migration);
        const vault = await this.stage("vault", () => parts.startVault(context, replication, agent));
        if (vault !== undefined) this.sampled.push(vault);
        await (early ?? this.homesClaimed().then(proxy));
      })().then(() => {
        this.complete = true;
      }, (error: unknown) => log.error({ err: error }, "start of the node failed")),
    );
  }

  /** `leaving`: the node's etcd member goes too (DELETE /v1/identity). */
  public async stop(options: { leaving?: boolean } = {}): Promise<void> {
    await this.leader.resign();
    this.apiScope.clear();
    this.aborter.abort();
    for (const part of this.running.reverse()) await part.stop().catch((error: unknown) => this.options.log.warn({ err: error }, "a part did not stop well"));
    await Promise.allSettled(this.loops);
    this.beating.abort();
    await this.beats;
    if (options.leaving === true) {
      const { node } = this.options.host;
      await this.context.store.txn([], [{ delete: keys.session(node) }, { delete: keys.node(node) }, { delete: keys.drain(node) }, { deletePrefix: `/hc/observed/${node}/` }]).catch((error: unknown) => this.options.log.warn({ err: error }, "the node's records stay behind in etcd"));
      await this.member.tearDown();
      await this.voters.forget();
    }
    this.peers.close();
    this.connection.close();
  }

  private status(): Status {
    const { cluster, clock } = this.options;
    const state = this.view.current();
    // without a commit nobody's sign of life can be seen: who answers is what is left to go by
    const silent = this.complete && this.session.silentMs() >= noQuorumMs;
    const alive = silent ? new Set([this.options.host.node, ...Object.keys(this.links.current())]) : this.liveness.alive(state);
    const problems = this.planned(alive);
    const noQuorum = silent ? `etcd does not commit (no quorum, as seen from ${this.options.host.node}): nothing can be changed, moved or failed over; what is shown is the last that was known. ${this.failsafe.problem() || "Sites go on as long as all nodes with a copy promise it to their homes"}` : "";
    return buildStatus({ problems, noQuorum, alive, cluster: cluster.cluster, state, members: cluster.members, voters: this.voters.current(), silentMs: (node) => this.liveness.silentMs(node), atMs: clock.wallMs() });
  }

  /** What cannot be placed, and why: any node can plan, only the leader writes. */
  private planned(alive: ReadonlySet<string>): Readonly<Record<string, string>> {
    return planCluster({ state: this.view.current(), alive, gone: new Set(), atMs: this.options.clock.wallMs() }).problems;
  }

  private restart(why: string): void {
    this.options.log.error({ why }, "hcd starts anew: etcd is not what it was");
    this.options.restart?.(why);
  }

  /** Why a route may be missing: its part has not started yet. */
  public starting(): HcError | undefined {
    if (this.complete) return undefined;
    return new HcError("NOT_READY", `hcd on ${this.options.host.node} is starting${this.problems().map((problem) => `; ${problem}`).join("")}.`);
  }

  private problems(): string[] {
    const etcd = this.member.problem();
    return [...[etcd, this.failsafe.problem(), this.agent?.problem?.() ?? ""].filter((text) => text !== ""), ...[...this.waiting].map(([what, why]) => `${what}: ${why}`)];
  }

  private notReady(): string[] {
    const reasons = this.problems();
    if (!this.complete && reasons.length === 0) reasons.push("hcd is starting");
    if (!this.session.isLive()) reasons.push(`no live session: ${this.session.problem()}`);
    const etcd = this.health.last();
    if (!etcd.healthy) reasons.push(`etcd is not healthy: ${etcd.why}`);
    if (this.member.isVoter() && etcd.role !== "voter") reasons.push(`etcd: this node is a ${etcd.role} and not a voter yet`);
    try {
      const state = this.view.current();
      if (!state.nodes.has(this.options.host.node)) reasons.push("the node's record is not written yet");
      if (this.options.cluster.dataset !== "" && (state.observedNodes.get(this.options.host.node)?.pool ?? null) === null) reasons.push("the pool was not reported yet");
    } catch (error) {
      reasons.push(messageOf(error));
    }
    if (this.options.cluster.dataset !== "" && (this.agent === undefined || this.agent.rounds() === 0)) reasons.push("the agent has had no round yet");
    else if (this.agent?.publishedAtMs?.() === 0) reasons.push("what lies on the disk was not told yet");
    return reasons;
  }

  private samples(): Sample[] {
    const { view, liveness } = this;
    const picture = view.isReady() ? [...pictureSamples(this.options.host.node, view.current(), liveness.alive(view.current())), ...this.alerts.metrics()] : [];
    const { session, leader, health, fence, events, planner, failsafe, failover } = this;
    // before the first picture nobody leads
    const own = ownSamples({ version: hcdVersion, sha256: this.options.sha256, session, leads: view.isReady() && leader.isLeader(), elections: leader.elections, etcd: health.last(), fence, events, planner, failsafe, failover });
    return [...own, { name: "hc_etcd_votes_given_total", labels: {}, value: this.voters.replaced }, ...this.acme.metrics(), ...picture, ...this.sampled.flatMap((part) => part.metrics())];
  }

  /**
   * A new session must be noted in the records of the units at home here before their gates open. Until then the workers go on with the table
   * and deadline of the process before, which has passed; after 3 s the new table is pushed as it is, and each gate opens with its check.
   */
  private async homesClaimed(): Promise<void> {
    const { clock, host } = this.options;
    const end = clock.monotonicMs() + 3000;
    const unclaimed = (): boolean => [...this.view.current().units.values()].some(({ value }) => value.home === host.node && value.state === "live" && value.homeGeneration !== this.session.generation);
    while (!this.aborter.signal.aborted && clock.monotonicMs() < end && unclaimed()) await clock.sleep(50, this.aborter.signal).catch(() => undefined);
  }

  private async publishRecord(): Promise<void> {
    const { host, sha256 } = this.options;
    const { http, peer, control } = host.ports;
    const record: NodeRecord = { version: recordVersion, node: host.node, addresses: host.addresses, zone: host.zone, role: host.role, ports: { http, peer, control }, hcd: { version: hcdVersion, sha256 }, runtime: await this.platform.runtime() };
    const text = JSON.stringify(record);
    const found = await this.context.store.get(keys.node(host.node));
    if (found?.value !== text) await this.context.store.txn([], [{ put: keys.node(host.node), value: text }]);
  }

  private async ticks(): Promise<void> {
    const { signal } = this.aborter;
    for (let tick = 0; !signal.aborted; tick += 1) {
      this.fence.look();
      // it is published every 2 s
      if (tick % 2 === 0) await this.health.look();
      await sleepUntilTick(this.options.clock, 1000, signal);
    }
  }

  /** Repeats `act` until it succeeds or the node stops; a Running that it returns is stopped with the node. */
  private async stage<T extends Running | undefined>(what: string, act: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.aborter;
    this.waiting.set(what, "not started yet");
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        const part = await act();
        if (part !== undefined) this.running.push(part);
        this.waiting.delete(what);
        return part;
      } catch (error) {
        this.waiting.set(what, messageOf(error));
        if (attempt <= 2 || attempt % 20 === 0) this.options.log.warn({ reason: messageOf(error), what, attempt }, "a part does not start yet");
        await this.options.clock.sleep(pauseMs(attempt, { firstMs: 200, capMs: 5000 }), signal).catch(() => undefined);
      }
    }
    return undefined;
  }
}

/** So long without a commit is told as a loss of quorum, ms: an election takes less. */
const noQuorumMs = 4_000;
const none = (): undefined => undefined;
