import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startApiServer } from "../../daemon/api/api-server.js";
import { Blobs, blobRoutes } from "../../daemon/api/blob-routes.js";
import { documentRoutes } from "../../daemon/api/documents.js";
import { nodeRoutes } from "../../daemon/api/node-routes.js";
import { recordRoutes } from "../../daemon/api/record-routes.js";
import { Router } from "../../daemon/api/router.js";
import type { RouteRegistry, Running } from "../../daemon/context.js";
import type { CustomerSpec, SiteSpec, TemplateSpec } from "../../daemon/lib/documents.js";
import { errorCode, HcError } from "../../daemon/lib/errors.js";
import { createSealer } from "../../daemon/lib/sealed.js";
import { createLogger } from "../../daemon/lib/log.js";
import { type ClusterConfig, defaultPaths, type Identity } from "../../daemon/lib/node-config.js";
import { keys, unitShard } from "../../daemon/lib/records.js";
import type { ClusterState } from "../../daemon/state/cluster-state.js";
import { MemoryState, MemoryStore } from "../../daemon/state/memory-store.js";
import { WatchedView } from "../../daemon/state/view.js";
import { closeConnections } from "../../providers/ssh/pool.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { startSshServer, type TestSshServer } from "./ssh-server.js";

const log = createLogger("test", { write: () => undefined });
const runtime = { platform: "linux", php: "8.2" } as const;

/**
 * The daemon's own API (its real routes, over a real SSH server and Unix sockets) for tests of handlers' ways in trouble. Leader and agents
 * are played by `act`, which a test can hold back; with real ones the same handlers run in test/lab/program.test.ts.
 */
export class ApiCluster {
  public readonly state = new MemoryState();
  /** What leader and agents do not do now. */
  public readonly withheld = new Set<"customer" | "template" | "site" | "delete">();
  public templateError = "";
  public readonly identities = new Map<string, Identity>();
  /** Documents that were made or changed, and what was refused. */
  public readonly asked: string[] = [];
  private readonly ending = new AbortController();
  private readonly servers = new Map<string, Running>();
  private readonly view: WatchedView;
  private constructor(private readonly ssh: TestSshServer, private readonly folder: string, public readonly nodes: readonly string[]) {
    this.view = new WatchedView(new MemoryStore(this.state), log);
  }

  public static async start(nodes: readonly string[] = ["n1", "n2"]): Promise<ApiCluster> {
    const cluster = new ApiCluster(await startSshServer(), mkdtempSync(join(tmpdir(), "hc-cluster-")), nodes);
    await cluster.view.start(cluster.ending.signal);
    cluster.view.onChange(() => cluster.act());
    for (const node of nodes) await cluster.serve(node);
    return cluster;
  }

  public connection(node: string): Connection {
    return { ...this.ssh.target, privateKeyPath: this.ssh.target.privateKeyPath as string, node, paths: { ...defaultPaths, run: join(this.folder, node) } };
  }
  public connections = (): Connection[] => this.nodes.map((node) => this.connection(node));
  public blobsOf = (node: string): string => join(this.folder, node, "blobs");

  public async serve(node: string): Promise<void> {
    mkdirSync(join(this.folder, node), { recursive: true });
    const router = new Router(log);
    const store = new MemoryStore(this.state);
    nodeRoutes(router, {
      node, version: "1", sha256: "", config: () => this.identities.get(node)?.config,
      putIdentity: async (value) => {
        const [before, now] = [this.identities.get(node)?.config, value as Identity];
        if (before !== undefined && before.clusterId !== now.config.clusterId) throw new HcError("CONFLICT", `${node} belongs to another cluster`, { retry: "never" });
        this.identities.set(node, now);
        return { changed: true };
      },
      deleteIdentity: async () => void this.identities.delete(node),
    });
    router.route("GET", "/v1/ready", async () => (this.identities.has(node) ? { ready: true, reasons: [] } : { ready: false, reasons: ["no identity"] }));
    const sealKey = this.identities.get(node)?.pki.sealKey;
    const watched: RouteRegistry = { route: (method, pattern, handler) => router.route(method, pattern, (request, response) => Promise.resolve(handler(request, response)).catch((error: unknown) => {
      this.asked.push(`refused ${method} ${request.params["name"]}: ${errorCode(error)}`);
      throw error;
    })) };
    documentRoutes(watched, store, () => this.nodes.length, (_unit, event, detail) => void this.asked.push(`${event} ${detail} on ${node}`), sealKey === undefined ? undefined : createSealer(sealKey));
    recordRoutes(router, store, this.view);
    blobRoutes(router, { route: () => undefined }, new Blobs(this.blobsOf(node)));
    this.servers.set(node, await startApiServer(join(this.folder, node, "hcd.sock"), router));
  }
  /** The node's hcd goes away; `serve` brings it back. */
  public async silence(node: string): Promise<void> {
    await closeConnections();
    await this.servers.get(node)?.stop();
    this.servers.delete(node);
  }
  public config = (node: string): ClusterConfig | undefined => this.identities.get(node)?.config;

  /** One round of leader and agents. */
  public act(): void {
    const state: ClusterState = this.view.current();
    const put = (key: string, value: object): void => void this.state.txn([], [{ put: key, value: JSON.stringify(value) }]);
    for (const { value: { kind, name, spec }, revision } of state.desired.values()) {
      if (kind === "customer" && !this.withheld.has("customer") && !state.customers.has(name)) put(keys.customer(name), { version: 1, name, uid: 20000, gid: 20000, user: `hc-${name}`, ...({} as CustomerSpec) });
      if (kind === "template" && !this.withheld.has("template")) {
        const { version } = spec as TemplateSpec;
        if (!state.templates.has(`${name}/${version}`)) put(keys.template(name, version), { version: 1, name, templateVersion: version, builder: "n1", state: this.templateError === "" ? "ready" : "failed", guid: "12345678901234567890", error: this.templateError, runtime });
      }
      const home = (spec as SiteSpec).placement?.pin || "n1";
      const id = `site-${name}`;
      if (kind === "site" && !this.withheld.has("site") && state.observedUnits.get(home)?.get(id)?.appliedRevision !== revision) {
        if (!state.units.has(id)) put(keys.unit(id), { version: 1, unit: id, kind, name, home, homeGeneration: 1, epoch: 1, epochStartGuid: "1", replicas: ["n2"], state: "live", runtime, origin: { template: "php", version: "1", guid: "1" } });
        const unit = { epoch: 1, state: "serving", mounted: true, usedBytes: "1", writtenBytes: "0", snapshots: [], replicas: {}, error: "", appliedRevision: revision };
        put(keys.observedUnits(home, unitShard(id)), { version: 1, node: home, shard: unitShard(id), units: { [id]: unit } });
      }
    }
    if (this.withheld.has("delete")) return;
    for (const id of state.units.keys()) if (!state.desired.has(`site/${id.slice(5)}`)) this.state.txn([], [{ delete: keys.unit(id) }]);
  }

  public async stop(): Promise<void> {
    this.ending.abort();
    await closeConnections();
    for (const server of this.servers.values()) await server.stop();
    await this.ssh.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
