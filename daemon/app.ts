import { readClusterConfig, readPki, checkIdentity, removeIdentity, writeIdentity } from "./identity/identity.js";
import { startApiServer } from "./api/api-server.js";
import { notClustered, nodeRoutes } from "./api/node-routes.js";
import { Router } from "./api/router.js";
import { tearDownNode } from "./api/teardown.js";
import type { Running } from "./context.js";
import { type Clock, systemClock } from "./lib/clock.js";
import type { CommandRunner } from "./lib/command.js";
import { HcError } from "./lib/errors.js";
import type { Logger } from "./lib/log.js";
import { apiSocket, type ClusterConfig, type HostConfig } from "./lib/node-config.js";
import { ClusterNode } from "./cluster-node.js";
import type { Parts } from "./parts.js";
import { artefactSha256, hcdVersion } from "./version.js";

export interface AppOptions { host: HostConfig; log: Logger; runner: CommandRunner; parts: Parts; clock?: Clock; /** Ends the process, to be started anew by its supervisor. */ restart?(why: string): void }

/**
 * The control process. Start order (the cluster's part is in cluster-node.ts):
 * 1. host.json was read by main.
 * 2. API on the Unix socket: answers `version` and `identity` from the first moment.
 * 3. cluster.json and keys, when there are any: the node's part of the cluster starts, and starts anew when the identity changes.
 * Stopping ends the mechanisms and leaves everything that serves as it is: sites, Apache, proxy workers, etcd, mounts.
 */
export class App {
  private readonly router: Router;
  private api: Running | undefined;
  private config: ClusterConfig | undefined;
  private node: ClusterNode | undefined;
  /** Identity changes one after the other. */
  private turn: Promise<unknown> = Promise.resolve();
  private stopped = false;

  public constructor(private readonly options: AppOptions) {
    this.router = new Router(options.log, () => (this.config === undefined ? notClustered(options.host.node) : this.node?.starting()));
    nodeRoutes(this.router, {
      node: options.host.node,
      version: hcdVersion,
      sha256: artefactSha256(),
      config: () => this.config,
      putIdentity: (value) => this.inTurn(() => this.putIdentity(value)),
      deleteIdentity: () => this.inTurn(() => this.deleteIdentity()),
    });
  }

  public async start(): Promise<void> {
    this.config = await readClusterConfig(this.options.host);
    this.api = await startApiServer(apiSocket(this.options.host.paths), this.router);
    this.options.log.info({ node: this.options.host.node, version: hcdVersion, clustered: this.config !== undefined }, "hcd serves its API");
    if (this.config !== undefined) await this.inTurn(() => this.startNode());
  }

  public async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    await this.inTurn(() => this.stopNode());
    await this.api?.stop();
  }

  /** Settles when nothing is being started or stopped. */
  public async settled(): Promise<void> {
    await this.turn.catch(() => undefined);
  }

  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const next = this.turn.catch(() => undefined).then(act);
    this.turn = next.catch(() => undefined);
    return next;
  }

  private async startNode(): Promise<void> {
    if (this.config === undefined) return;
    const { host, log, runner, parts } = this.options;
    const node = new ClusterNode({ host, cluster: this.config, pki: await readPki(host), log, runner, parts, clock: this.options.clock ?? systemClock, api: this.router, sha256: artefactSha256(), ...(this.options.restart === undefined ? {} : { restart: this.options.restart }) });
    this.node = node;
    await node.start();
  }

  private async stopNode(): Promise<void> {
    await this.node?.stop();
    this.node = undefined;
  }

  private async putIdentity(value: unknown): Promise<{ changed: boolean }> {
    if (this.stopped) throw new HcError("NOT_READY", "hcd is stopping.");
    const { host, runner } = this.options;
    const identity = checkIdentity(value, host, this.config);
    const changed = await writeIdentity(host, identity, runner);
    if (!changed && this.node !== undefined) return { changed: false };
    await this.stopNode();
    this.config = identity.config;
    await this.startNode();
    return { changed };
  }

  private async deleteIdentity(): Promise<void> {
    const { host, log } = this.options;
    const { config, node } = this;
    if (config === undefined) return void (await removeIdentity(host));
    await node?.stop({ leaving: true });
    this.node = undefined;
    const { platform, zfs } = node ?? this.options.parts.create(host, config, this.options.runner, log);
    const failed = await tearDownNode({ host, dataset: config.dataset, platform, zfs, log });
    if (failed.length > 0) throw new HcError("NOT_READY", `${host.node} could not be taken out of the cluster completely; repeat: ${failed.join("; ")}`);
    await removeIdentity(host);
    this.config = undefined;
  }
}
