import type { IncomingMessage, ServerResponse } from "node:http";
import { PassThrough, type Readable } from "node:stream";
import pino from "pino";
import { type Agent, AgentLoop } from "../../daemon/agent/agent.js";
import { registerTrashRoutes } from "../../daemon/agent/trash-routes.js";
import type { NodeContext, PeerRequest, Peers, RouteHandler, RouteRegistry, Session } from "../../daemon/context.js";
import { Failover } from "../../daemon/failover/failover.js";
import type { Clock } from "../../daemon/lib/clock.js";
import { delay } from "../../daemon/lib/abort.js";
import { type DesiredDocument, siteDefaults } from "../../daemon/lib/documents.js";
import { Locks } from "../../daemon/lib/locks.js";
import { HcError } from "../../daemon/lib/errors.js";
import { keys, type TrashRecord, type UnitRecord } from "../../daemon/lib/records.js";
import { defaultPaths, defaultPorts } from "../../daemon/lib/node-config.js";
import { type Migration, startMigration } from "../../daemon/migration/start.js";
import { Gates } from "../../daemon/proxy/gates.js";
import { Leader } from "../../daemon/membership/leader.js";
import { Liveness } from "../../daemon/membership/liveness.js";
import { NodeSession } from "../../daemon/membership/session.js";
import type { Platform } from "../../daemon/platform/platform.js";
import type { Replication } from "../../daemon/replication/replication.js";
import { Failsafe } from "../../daemon/failsafe/failsafe.js";
import { fixedSession } from "./fixed-session.js";
import { startReplication } from "../../daemon/replication/start.js";
import type { SiteRun, SiteServices } from "../../daemon/services/site-services.js";
import { MemoryState, MemoryStore } from "../../daemon/state/memory-store.js";
import type { ClusterState } from "../../daemon/state/cluster-state.js";
import type { Compare, Op } from "../../daemon/state/store.js";
import { WatchedView } from "../../daemon/state/view.js";
import { noticed, ZfsChanges } from "../../daemon/zfs/changes.js";
import { createFakeZfs, type FakeZfs } from "../../daemon/zfs/fake-zfs.js";

export const root = "hpool/hc";
const speed = 10;
/** The real clock, `speed` times faster: waits and ticks are short, order stays real. */
const fastClock: Clock = { monotonicMs: () => performance.now() * speed, wallMs: () => Date.now(), sleep: (ms, signal) => delay(ms / speed, signal) };
const log = pino({ level: process.env["HC_LOG_LEVEL"] ?? "silent" });
const runtime = { platform: "linux" as const, php: "8.2" };
const crashed = (): HcError => new HcError("ABORTED", "this incarnation has crashed", { retry: "never" });

/** What a crash of the control process leaves behind on a node: disk, mounts, running containers, users. */
interface Machine { name: string; zfs: FakeZfs; store: MemoryStore; running: Map<string, SiteRun>; /** Units that the fencer knows of; outlives a crash, as its order does. */ ordered: Set<string>; configured: SiteRun[]; users: Map<string, { user: string; uid: number; gid: number }>; generation: number; broken: boolean }
interface Incarnation { dead: boolean; live: boolean; abort: AbortController; routes: Map<string, RouteHandler>; api: Map<string, RouteHandler>; agent: Agent; migration: Migration; replication: Replication; view: WatchedView; session: Session; leads(): boolean; promotions(): number }

/** When the effects of a node shall break: at its n-th, before or after it has happened. */
export interface CrashPoint { node: string; effect: number; after: boolean }

/** Agents, replication and moves of several nodes in one process, on fakes that outlive a crash; every effect checks the invariants. */
export class AgentCluster {
  public readonly state = new MemoryState();
  public readonly clock: Clock;
  public readonly machines = new Map<string, Machine>();
  public readonly running = new Map<string, Incarnation>();
  public readonly violations: string[] = [];
  public readonly events: string[] = [];
  public readonly trace: string[] = [];
  public crashPoint: CrashPoint | undefined;
  public onCrash: ((node: string) => void) | undefined;
  private readonly effects = new Map<string, number>();
  private readonly admin = new MemoryStore(this.state);

  /** Nodes that no other node reaches; their way to etcd is cut at `machine.store`. */
  private readonly cutOff = new Set<string>();

  /** `control`: nodes have the real sessions, liveness, election and failover instead of ones that never fail. */
  public constructor(public readonly names: readonly string[], private readonly options: { control?: boolean; clock?: Clock; /** Time that a call between nodes, or to etcd, takes on its way, ms; with a simulated clock only. */ latencyMs?: () => number } = {}) {
    this.clock = options.clock ?? fastClock;
    const { clock } = this;
    for (const name of names) {
      const zfs = createFakeZfs({ seed: name, nowMs: () => clock.wallMs() });
      const { latencyMs } = options;
      const store = new MemoryStore(this.state, latencyMs === undefined ? undefined : { clock, requestMs: latencyMs, answerMs: latencyMs, watchMs: latencyMs });
      this.machines.set(name, { name, zfs, store, running: new Map(), ordered: new Set(), configured: [], users: new Map(), generation: 0, broken: false });
    }
  }
  public async prepare(): Promise<void> {
    for (const machine of this.machines.values()) await machine.zfs.create(root, { mountpoint: "/hc" });
  }
  public machine(name: string): Machine {
    return this.machines.get(name) as Machine;
  }
  public effectsOf(name: string): number {
    return this.effects.get(name) ?? 0;
  }

  // ---- faults

  /** One effect on the outside: counts, checks the invariants, and is where a crash may strike. */
  private async effect<T>(name: string, incarnation: Incarnation, what: string, act: () => Promise<T>): Promise<T> {
    if (incarnation.dead) throw crashed();
    const count = this.effectsOf(name) + 1;
    this.effects.set(name, count);
    const strike = this.crashPoint?.node === name && this.crashPoint.effect === count ? this.crashPoint : undefined;
    this.trace.push(`${name}#${count} ${what} (${Math.round(performance.now())})`);
    if (strike !== undefined && !strike.after) {
      this.crash(name, incarnation);
      throw crashed();
    }
    const result = await act();
    await this.check(what);
    if (strike?.after === true) {
      this.crash(name, incarnation);
      throw crashed();
    }
    if (incarnation.dead) throw crashed();
    return result;
  }
  private crash(name: string, incarnation = this.running.get(name)): void {
    this.crashPoint = undefined;
    if (incarnation === undefined || incarnation.dead) return;
    incarnation.dead = true;
    incarnation.abort.abort();
    this.running.delete(name);
    this.trace.push(`${name} CRASH`);
    this.onCrash?.(name);
  }
  /** kill -9 of the control process. */
  public kill(name: string): void {
    this.crash(name);
  }
  /** Power cut: what was mounted and what ran is gone. */
  public async powerCut(name: string): Promise<void> {
    this.crash(name);
    const machine = this.machine(name);
    machine.running.clear();
    for (const dataset of await machine.zfs.datasets(root)) if (dataset.mounted) await machine.zfs.unmount(dataset.name);
  }
  public cut(name: string): void {
    this.cutOff.add(name);
    this.machine(name).store.cut();
  }
  public heal(name: string): void {
    this.cutOff.delete(name);
    this.machine(name).store.heal();
  }
  /** No node reaches etcd any more, and all reach each other: it has no quorum. */
  public quorum(there: boolean): void {
    for (const { name, store } of this.machines.values()) if (there && !this.cutOff.has(name)) store.heal(); else store.cut();
  }
  public isCut(name: string): boolean {
    return this.cutOff.has(name);
  }
  /** Would a request for the unit be run by this node now? What the proxy's gate looks at, and that the container runs on a writable file system. */
  public async accepts(name: string, unit: string): Promise<boolean> {
    const incarnation = this.running.get(name);
    if (incarnation === undefined || incarnation.dead || !incarnation.session.owns(unit)) return false;
    const record = incarnation.view.current().units.get(unit)?.value;
    if (record?.home !== name || record.homeGeneration !== incarnation.session.generation || record.move?.phase === "stopping" || !this.machine(name).running.has(unit)) return false;
    const [dataset] = await this.machine(name).zfs.datasets(`${root}/${unit}`).catch(() => []);
    return dataset?.mounted === true && !dataset.readonly && incarnation.session.owns(unit);
  }
  public setLive(name: string, live: boolean): void {
    const incarnation = this.running.get(name);
    if (incarnation !== undefined) incarnation.live = live;
  }

  /** Invariants 1 and 4 of DESIGN §5, after each effect of any node. */
  private async check(what: string): Promise<void> {
    const writers = new Map<string, string[]>();
    for (const machine of this.machines.values())
      for (const dataset of await machine.zfs.datasets(root)) if (dataset.mounted && !dataset.readonly) writers.set(dataset.name, [...(writers.get(dataset.name) ?? []), machine.name]);
    for (const [dataset, nodes] of writers) if (nodes.length > 1 && this.options.control !== true && dataset.startsWith(`${root}/site-`)) this.violations.push(`${what}: ${dataset} is writable on ${nodes.join(" and ")}`);
    for (const machine of this.machines.values())
      for (const { name, mounted, readonly } of await machine.zfs.datasets(root)) if (mounted && !readonly && name.startsWith(`${root}/site-`) && !machine.ordered.has(name.slice(root.length + 1))) this.violations.push(`${what}: ${name} is mounted on ${machine.name}, and its fencer does not know`);
    for (const [unit, nodes] of this.whereRuns()) if (nodes.length > 1 && this.options.control !== true) this.violations.push(`${what}: ${unit} runs on ${nodes.join(" and ")}`);
  }
  public whereRuns(): Map<string, string[]> {
    const runs = new Map<string, string[]>();
    for (const machine of this.machines.values()) for (const unit of machine.running.keys()) runs.set(unit, [...(runs.get(unit) ?? []), machine.name]);
    return runs;
  }

  // ---- nodes

  public async start(name: string): Promise<void> {
    const machine = this.machine(name);
    machine.generation += 1;
    const { generation } = machine;
    const abort = new AbortController();
    const routes = new Map<string, RouteHandler>();
    const api = new Map<string, RouteHandler>();
    const registry = (into: Map<string, RouteHandler>): RouteRegistry => ({ route: (method, pattern, handler) => void into.set(`${method} ${pattern}`, handler) });
    const incarnation = { dead: false, live: true, abort, routes, api } as Incarnation;
    const guard = <T>(what: string, act: () => Promise<T>): Promise<T> => this.effect(name, incarnation, what, act);
    const store = machine.store;
    const guardedStore: NodeContext["store"] = {
      get: async (key) => (incarnation.dead ? Promise.reject(crashed()) : store.get(key)),
      list: (prefix) => store.list(prefix),
      txn: (compare, ops) => (ops.every((op) => ("put" in op ? op.put : "delete" in op ? op.delete : "").startsWith("/hc/observed/")) ? (incarnation.dead ? Promise.reject(crashed()) : store.txn(compare, ops)) : guard(`txn ${ops.map(opText).join(" ")}`, () => store.txn(compare, ops))),
      watch: (prefix, after, handlers, signal) => store.watch(prefix, after, handlers, signal),
    };
    const view = new WatchedView(guardedStore, log);
    await view.start(abort.signal);
    incarnation.view = view;
    const changes = new ZfsChanges();
    const gates = new Gates(this.clock);
    const worker = {}; // a proxy without requests
    gates.attach(() => gates.said(worker, Object.fromEntries(gates.held().map((unit) => [unit, 0]))), 1);
    gates.joined(worker);
    const context: NodeContext = {
      host: { version: 1, node: name, platform: "linux", zone: "z", role: "node", addresses: ["127.0.0.1"], ports: defaultPorts, paths: defaultPaths },
      cluster: { version: 1, cluster: "sim", clusterId: "sim", node: name, members: this.names.map((node) => ({ node, addresses: [], zone: "z", role: "node" as const, ports: defaultPorts })), voters: [], dataset: root, etcd: { heartbeatMs: 100, electionMs: 1000 } },
      log,
      clock: this.clock,
      runner: { run: () => Promise.reject(new Error("no commands in the simulation")) },
      platform: this.platform(machine, guard),
      zfs: noticed(this.zfs(machine, guard), changes, () => this.clock.monotonicMs()),
      changes,
      store: guardedStore,
      view,
      session: this.options.control === true ? this.session(name, incarnation, store) : fixedSession(generation, () => incarnation.live && !incarnation.dead),
      fence: {
        open: ({ unit }) => void machine.ordered.add(unit),
        seen: (here, settled) => {
          for (const unit of machine.ordered) if (settled(unit)) machine.ordered.delete(unit);
          for (const { unit } of here) machine.ordered.add(unit);
        },
      },
      unitLocks: new Locks(),
      gates,
      services: this.services(machine, guard),
      peers: this.peers(name, incarnation),
      peerRoutes: registry(routes),
      apiRoutes: registry(api),
      event: (unit, event, detail) => void this.events.push(`${name} ${unit} ${event} ${detail}`),
      signal: abort.signal,
    };
    incarnation.session = context.session;
    const isAlive = this.options.control === true ? this.control(context, incarnation, guardedStore) : (_state: unknown, node: string): boolean => this.running.has(node);
    incarnation.replication = await startReplication(context, { pruneMs: 10_000_000 });
    registerTrashRoutes(context, isAlive);
    incarnation.agent = new AgentLoop(context, {
      replication: incarnation.replication,
      buildTemplate: ({ root: folder }) => guard("build", async () => machine.zfs.write(`hpool${folder}`, "index.php", "from the template")),
      populate: ({ root: folder, sha256 }) => guard("populate", async () => machine.zfs.write(`hpool${folder}`, "content", `content ${sha256}`)),
      emptyFolder: () => guard("empty", async () => undefined),
    });
    incarnation.migration = await startMigration(context, { replication: incarnation.replication, agent: incarnation.agent, isAlive });
    if (incarnation.dead) return;
    this.running.set(name, incarnation);
  }
  /** The real sign of life, whose writes are no effects that a crash is aimed at. */
  private session(name: string, incarnation: Incarnation, store: MemoryStore): Session & { guard(): Compare } {
    const alive: NodeContext["store"] = {
      get: async (key) => (incarnation.dead ? Promise.reject(crashed()) : store.get(key)),
      list: (prefix) => store.list(prefix),
      txn: async (compare, ops, options) => (incarnation.dead ? Promise.reject(crashed()) : store.txn(compare, ops, options)),
      watch: (prefix, after, handlers, signal) => store.watch(prefix, after, handlers, signal),
    };
    const session = new NodeSession({ node: name, store: alive, clock: this.clock, log, diskProblem: () => "" });
    void session.run(incarnation.abort.signal);
    return session;
  }
  /** Liveness, election and failover as on a node; the judgement who lives. */
  private control(context: NodeContext, incarnation: Incarnation, store: NodeContext["store"]): (state: ClusterState, node: string) => boolean {
    const { view } = incarnation;
    const session = context.session as NodeSession;
    const liveness = new Liveness(this.clock, () => session.live());
    view.onSession((nodes) => liveness.seen(nodes.filter((node) => view.current().sessions.get(node)?.value.dead !== true)));
    liveness.seen([...view.current().sessions.keys()]);
    const leader = new Leader({ node: context.host.node, store, view, session, liveness, clock: this.clock, log });
    const failover = new Failover({ context, leader, liveness });
    incarnation.leads = () => leader.isLeader();
    incarnation.promotions = () => failover.promotions;
    void leader.run(incarnation.abort.signal);
    void failover.run(incarnation.abort.signal);
    void new Failsafe({ context, session, diskProblem: () => "" }).run(incarnation.abort.signal);
    return (state, node) => liveness.isAlive(state, node);
  }
  public async stopAll(): Promise<void> {
    for (const incarnation of [...this.running.values()]) {
      incarnation.dead = true;
      incarnation.abort.abort();
      await incarnation.agent.stop();
      await incarnation.migration.stop();
      await incarnation.replication.stop();
    }
    this.running.clear();
  }

  private zfs(machine: Machine, guard: <T>(what: string, act: () => Promise<T>) => Promise<T>): NodeContext["zfs"] {
    const { zfs } = machine;
    const changing = ["create", "clone", "snapshot", "set", "inherit", "rename", "destroy", "mount", "unmount", "receive", "promote", "rollback"] as const;
    const wrapped = { ...zfs } as unknown as Record<string, (...args: unknown[]) => unknown>;
    for (const name of changing)
      wrapped[name] = (...args: unknown[]) => {
        const target = String(args[0]);
        if (name === "destroy") this.checkDestroy(machine.name, target);
        return guard(`${name} ${target}`, () => (zfs[name] as (...args: unknown[]) => Promise<void>)(...args));
      };
    return wrapped as unknown as NodeContext["zfs"];
  }
  private checkDestroy(node: string, target: string): void {
    const id = /^hpool\/hc\/trash\/([^@/]+)/.exec(target)?.[1];
    const record = id === undefined ? undefined : this.state.get(keys.trash(id));
    if (record === undefined || (JSON.parse(record.value) as TrashRecord).purge !== true) this.violations.push(`${node} destroys ${target}, which nobody has ordered`);
  }
  private platform(machine: Machine, guard: <T>(what: string, act: () => Promise<T>) => Promise<T>): Platform {
    const nothing = async (): Promise<void> => undefined;
    return {
      name: "linux",
      runtime: async () => runtime,
      defineService: async () => false,
      startService: nothing, restartService: nothing, reloadService: nothing, stopService: nothing, removeService: nothing,
      serviceStates: async () => new Map(),
      killServices: async () => undefined,
      bootId: async () => "sim",
      serviceLog: async () => "",
      ensureUser: (user, uid, gid) => guard(`user ${user}`, async () => void machine.users.set(user, { user, uid, gid })),
      removeUser: (user) => guard(`remove user ${user}`, async () => void machine.users.delete(user)),
      listUsers: async () => [...machine.users.values()],
      memory: async () => ({ totalBytes: 1, availableBytes: 1 }),
    } as Platform;
  }
  private services(machine: Machine, guard: <T>(what: string, act: () => Promise<T>) => Promise<T>): SiteServices {
    const mounted = async (unit: string): Promise<boolean> => (await machine.zfs.datasets(root)).some((dataset) => dataset.name === `${root}/${unit}` && dataset.mounted && !dataset.readonly);
    return {
      ensureBase: () => guard("base", async () => undefined),
      configure: (sites) =>
        guard(`configure ${sites.map((site) => site.unit).join(",")}`, async () => {
          machine.configured = [...sites];
          return { changed: true };
        }),
      start: (site) =>
        guard(`start ${site.unit}`, async () => {
          if (!(await mounted(site.unit))) this.violations.push(`${machine.name}: ${site.unit} is started and not mounted`);
          if (!machine.users.has(site.user)) this.violations.push(`${machine.name}: ${site.unit} is started without its user`);
          machine.running.set(site.unit, site);
        }),
      stop: (unit) => guard(`stop ${unit}`, async () => void machine.running.delete(unit)),
      states: async () => new Map([...machine.running.keys()].map((unit) => [unit, "active" as const])),
      check: async (site) => (machine.broken ? { ok: false, status: 503, detail: "broken" } : { ok: machine.running.has(site.unit) && (await mounted(site.unit)), status: 200, detail: "" }),
      logs: async () => "",
    };
  }

  // ---- calls

  private find(routes: Map<string, RouteHandler>, method: string, path: string): { handler: RouteHandler; params: Record<string, string>; query: URLSearchParams } {
    const url = new URL(path, "http://peer");
    for (const [key, handler] of routes) {
      const [its, pattern = ""] = key.split(" ");
      const match = new RegExp(`^${pattern.replace(/:([a-z]+)/g, "(?<$1>[^/]+)")}$`).exec(url.pathname);
      if (its === method && match !== null) return { handler, params: { ...match.groups }, query: url.searchParams };
    }
    throw new HcError("NOT_FOUND", `no ${method} ${path}`);
  }
  private async onTheWay(from: string, to: string): Promise<void> {
    if (from !== to && this.options.latencyMs !== undefined) await this.clock.sleep(this.options.latencyMs());
  }
  private peers(from: string, own: Incarnation): Peers {
    const reach = (to: string): Incarnation => {
      const found = this.running.get(to);
      if (found === undefined || own.dead || (from !== to && (this.cutOff.has(from) || this.cutOff.has(to)))) throw new HcError("UNREACHABLE", `${to} cannot be reached.`);
      return found;
    };
    const request = (found: { params: Record<string, string>; query: URLSearchParams }, stream: Readable, body: unknown): PeerRequest => ({ from, params: found.params, query: found.query, headers: {}, stream: stream as IncomingMessage, json: async () => body });
    return {
      call: async <T>(to: string, method: string, path: string, body: unknown): Promise<T> => {
        await this.onTheWay(from, to);
        const target = reach(to);
        const found = this.find(target.routes, method, path);
        const answer = await found.handler(request(found, new PassThrough().end(), body), {} as ServerResponse);
        await this.onTheWay(from, to);
        if (target.dead || (from !== to && (this.cutOff.has(from) || this.cutOff.has(to)))) throw new HcError("UNREACHABLE", `${to} broke.`);
        return JSON.parse(JSON.stringify(answer)) as T;
      },
      upload: async <T>(to: string, path: string, _headers: Record<string, string>, body: Readable): Promise<T> => {
        body.on("error", () => undefined);
        const target = reach(to);
        const found = this.find(target.routes, "PUT", path);
        const wire = new PassThrough();
        body.on("error", (error) => wire.destroy(error));
        body.pipe(wire);
        const gone = new Promise<never>((_resolve, reject) => target.abort.signal.addEventListener("abort", () => reject(new HcError("UNREACHABLE", `${to} broke.`)), { once: true }));
        gone.catch(() => undefined);
        try {
          return JSON.parse(JSON.stringify(await Promise.race([found.handler(request(found, wire, undefined), {} as ServerResponse), gone]))) as T;
        } finally {
          body.destroy();
          wire.destroy();
        }
      },
      download: async (to: string, path: string): Promise<Readable> => {
        const found = this.find(reach(to).routes, "GET", path);
        const response = new PassThrough() as PassThrough & { writeHead(): void };
        return await new Promise((resolve, reject) => {
          response.writeHead = () => resolve(response);
          found.handler(request(found, new PassThrough().end(), undefined), response as unknown as ServerResponse).catch((error: Error) => {
            reject(error);
            response.destroy(error);
          });
        });
      },
    };
  }
  /** The Unix socket of a node. */
  public async api<T>(node: string, method: string, path: string, body?: unknown): Promise<T> {
    const incarnation = this.running.get(node);
    if (incarnation === undefined) throw new HcError("UNREACHABLE", `${node} is down.`);
    const found = this.find(incarnation.api, method, path);
    return (await found.handler({ from: "root", params: found.params, query: found.query, headers: {}, stream: new PassThrough().end() as unknown as IncomingMessage, json: async () => body }, {} as ServerResponse)) as T;
  }

  // ---- what `up` and the leader do

  public async put(key: string, value: unknown): Promise<void> {
    await this.admin.txn([], [{ put: key, value: JSON.stringify(value) }]);
  }
  public async remove(key: string): Promise<void> {
    await this.admin.txn([], [{ delete: key }]);
  }
  public record(unit: string): UnitRecord | undefined {
    const found = this.state.get(keys.unit(unit));
    return found === undefined ? undefined : (JSON.parse(found.value) as UnitRecord);
  }
  public trash(): TrashRecord[] {
    return this.state.list("/hc/trash/").items.map((item) => JSON.parse(item.value) as TrashRecord);
  }
  /** Compare-and-swap as the leader does it. */
  public async change(unit: string, change: (record: UnitRecord) => UnitRecord): Promise<void> {
    const found = this.state.get(keys.unit(unit));
    if (found === undefined) return;
    await this.admin.txn([{ key: found.key, modRevision: found.modRevision }], [{ put: found.key, value: JSON.stringify(change(JSON.parse(found.value) as UnitRecord)) }]);
  }
  public async declareBase(builder: string): Promise<void> {
    await this.put(keys.desired("template", "php"), { version: 1, kind: "template", name: "php", origin: "git", spec: { recipe: "php", version: "1", settings: {} } });
    await this.put(keys.template("php", "1"), { version: 1, name: "php", templateVersion: "1", builder, state: "building", guid: "", error: "", runtime });
    await this.put(keys.desired("customer", "acme"), { version: 1, kind: "customer", name: "acme", origin: "git", spec: { displayName: "", contact: "" } });
    await this.put(keys.customer("acme"), { version: 1, name: "acme", uid: 20000, gid: 20000, user: "hc-acme" });
    for (const name of this.names) {
      await this.put(keys.node(name), { version: 1, node: name, addresses: [], zone: "z", role: "node", ports: { http: 80, peer: 1, control: 2 }, hcd: { version: "0", sha256: "" }, runtime });
      await this.put(keys.observedNode(name), { version: 1, node: name, generation: 1, atMs: 0, pool: { name: "hpool", dataset: root, guid: "1", health: "ONLINE", sizeBytes: "1000000000", freeBytes: "900000000" }, memory: { totalBytes: 1, availableBytes: 1 }, load: 0, etcd: { role: "voter", healthy: true, fsyncMs: 1 }, templates: {}, links: {}, problems: [] });
    }
  }
  public siteDocument(name: string, more: Partial<DesiredDocument<"site">["spec"]> = {}): DesiredDocument<"site"> {
    return { version: 1, kind: "site", name, origin: "git", spec: { ...structuredClone(siteDefaults), placement: { prefer: [], require: [], avoid: [], pin: "", acrossZones: false }, customer: "acme", template: "php", hostnames: [`${name}.localhost`], ...more } };
  }
  public async declareSite(name: string, home: string, replicas: string[]): Promise<void> {
    const template = JSON.parse(this.state.get(keys.template("php", "1"))?.value as string) as { guid: string };
    await this.put(keys.desired("site", name), this.siteDocument(name));
    await this.put(keys.unit(`site-${name}`), { version: 1, unit: `site-${name}`, kind: "site", name, home, homeGeneration: 0, epoch: 1, epochStartGuid: "", replicas, state: "creating", runtime, origin: { template: "php", version: "1", guid: template.guid } } satisfies UnitRecord);
  }
  public async until<T>(what: string, look: () => Promise<T | undefined | false> | T | undefined | false, withinMs = 15_000): Promise<T> {
    const end = this.clock.monotonicMs() + withinMs * speed;
    for (;;) {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      if (this.clock.monotonicMs() > end) throw new Error(`${what}: not within ${withinMs} ms; violations ${JSON.stringify(this.violations)}; records ${JSON.stringify(this.state.list("/hc/unit/").items.map((item) => item.value))}; failures ${JSON.stringify([...this.running].map(([node, { agent }]) => [node, [...agent.failures()], [...(agent.last()?.plan.notes ?? [])]]))}; last effects ${this.trace.slice(-25).join(" | ")}`);
      await this.clock.sleep(5 * speed);
    }
  }
  /** Serves at home, at the record's epoch, by what the home has published. */
  public serves(unit: string): string | undefined {
    const record = this.record(unit);
    if (record === undefined || record.state !== "live" || record.move !== undefined) return undefined;
    const first = [...this.running.values()][0];
    const seen = first?.view.current().observedUnits.get(record.home)?.get(unit);
    return seen?.state === "serving" && seen.epoch === record.epoch && this.machine(record.home).running.has(unit) ? record.home : undefined;
  }
}
const opText = (op: Op): string => ("put" in op ? `put ${op.put}` : "delete" in op ? `delete ${op.delete}` : "delete prefix");
