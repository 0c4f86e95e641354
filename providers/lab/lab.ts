import { existsSync, rmSync } from "node:fs";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { indexInName, maxNode, type NodeNet, nodeNet } from "./addresses.js";
import { clearRegistered, readRecord } from "./clear.js";
import { ensureKey } from "./keys.js";
import { cut, dropFrom, heal } from "./links.js";
import { withLock } from "./lock.js";
import { changeNode, makeNode, readNode, readNodes, removeNode, writeHosts } from "./node-files.js";
import { initPid, killNode, startNode, stopNode } from "./node-process.js";
import { NodeRunner } from "./node-runner.js";
import { type DiskRequest, diskPath, type LabPlace, labPlace, type NodeRecord, nodeFolder } from "./place.js";
import { lockMs, type OpenLabOptions, registerLab, registryLock } from "./register.js";
import { readEntry, runFolder } from "./registry.js";

export interface NodeRequest {
  name: string;
  /** 1 to 200; default: the number at the end of the name, else the first free one. */
  index?: number;
  disks: DiskRequest[];
  memoryBytes?: string;
  /** The Debian root, from `ensureRoot`. */
  root: string;
}
/** How a node is reached: exactly what the Host resource takes. */
export interface NodeAccess {
  name: string;
  address: string;
  addresses: string[];
  port: number;
  user: string;
  hostKey: string;
  privateKeyPath: string;
  platform: "linux";
  disks: string[];
}

/** Finds or makes the lab in `dir`; clears what crashed runs left first. */
export async function openLab(options: OpenLabOptions): Promise<Lab> {
  const runner = options.runner ?? new LocalRunner();
  return new Lab(await registerLab(options, runner), runner);
}

/** The lab in `dir` as it is; undefined when there is none. Changes nothing. */
export function findLab(dir: string, runner: CommandRunner = new LocalRunner()): Lab | undefined {
  const record = readRecord(dir);
  return record === undefined ? undefined : new Lab(labPlace(dir, record), runner);
}

/** One lab: nodes on a bridge of their own. Every method can be repeated, and may be killed at any moment. */
export class Lab {
  public constructor(public readonly place: LabPlace, private readonly runner: CommandRunner) {}

  private locked<T>(act: () => Promise<T>): Promise<T> {
    return withLock(`lab ${this.place.dir}`, lockMs, act);
  }
  private nodeLocked<T>(name: string, act: (node: NodeRecord) => Promise<T>): Promise<T> {
    return withLock(`node ${nodeFolder(this.place.dir, name)}`, lockMs, async () => act(await this.node(name)));
  }

  public nodes(): Promise<NodeRecord[]> {
    return readNodes(this.place.dir);
  }
  public async node(name: string): Promise<NodeRecord> {
    const node = await readNode(this.place.dir, name);
    if (node === undefined) {
      const names = (await this.nodes()).map((each) => each.name).join(", ");
      throw new HcError("NOT_FOUND", `Lab ${this.place.name} has no node ${name}; it has ${names === "" ? "none" : names}.`);
    }
    return node;
  }
  public net(node: Pick<NodeRecord, "index">): NodeNet {
    return nodeNet(this.place.subnet, node.index);
  }
  public pid(node: Pick<NodeRecord, "index">): number | undefined {
    return initPid(this.place.subnet, node.index);
  }
  public access(node: NodeRecord): NodeAccess {
    const { v4, v6 } = this.net(node);
    return { name: node.name, address: v4, addresses: [v4, v6], port: 22, user: "root", hostKey: node.hostKey, privateKeyPath: this.place.keyPath, platform: "linux", disks: node.disks.map((_, number) => diskPath(number)) };
  }
  public runnerOf(node: NodeRecord): NodeRunner {
    return new NodeRunner(this.runner, node.name, () => this.pid(node));
  }

  /** Makes the node, or brings an existing one to the request (disks and memory may grow). It is not started here. */
  public createNode(request: NodeRequest): Promise<NodeRecord> {
    return this.locked(async () => {
      if (readRecord(this.place.dir)?.id !== this.place.id)
        throw new HcError("CONFLICT", `Lab ${this.place.name} was destroyed meanwhile; open it again.`);
      const present = await readNode(this.place.dir, request.name);
      const node = present === undefined ? await this.makeNew(request) : await this.adapt(present, request);
      await writeHosts(this.place);
      return node;
    });
  }
  private async makeNew(request: NodeRequest): Promise<NodeRecord> {
    const taken = new Map((await this.nodes()).map((node) => [node.index, node.name]));
    const free = (index: number | undefined): number | undefined => (index === undefined || taken.has(index) ? undefined : index);
    if (request.index !== undefined && taken.has(request.index))
      throw new HcError("ALREADY_EXISTS", `index: ${request.index} belongs to node ${taken.get(request.index)} of lab ${this.place.name}; choose another one.`);
    const index = request.index ?? free(indexInName(request.name)) ?? Array.from({ length: maxNode }, (_, i) => i + 1).find((each) => !taken.has(each));
    if (index === undefined) throw new HcError("LIMIT_EXCEEDED", `Lab ${this.place.name} has ${maxNode} nodes already.`, { retry: "never" });
    return makeNode(this.place, { ...request, index }, await ensureKey(this.place.keyPath));
  }
  private async adapt(present: NodeRecord, request: NodeRequest): Promise<NodeRecord> {
    const shrinks = present.disks.some((disk, number) => BigInt(request.disks[number]?.sizeBytes ?? "0") < BigInt(disk.sizeBytes));
    if (shrinks) throw new HcError("IMPOSSIBLE_CHANGE", `disks: node ${present.name} has ${present.disks.map((disk) => disk.sizeBytes).join(", ")} bytes; disks cannot shrink or be taken away.`);
    const { memoryBytes: _old, ...rest } = present;
    const next: NodeRecord = { ...rest, root: existsSync(present.root) ? present.root : request.root, disks: request.disks, ...(request.memoryBytes === undefined ? {} : { memoryBytes: request.memoryBytes }) };
    if (JSON.stringify(next) !== JSON.stringify(present)) await changeNode(this.place, next);
    return next;
  }

  public start(name: string): Promise<void> {
    return this.nodeLocked(name, async (node) => {
      // after a reboot neither registry entry nor bridge are there
      await registerLab({ dir: this.place.dir, name: this.place.name, ephemeral: this.place.ephemeral }, this.runner);
      await startNode(this.runner, this.place, node);
    });
  }
  public async startAll(): Promise<void> {
    await Promise.all((await this.nodes()).map((node) => this.start(node.name)));
  }
  public async stopAll(): Promise<void> {
    await Promise.all((await this.nodes()).map((node) => this.stop(node.name)));
  }
  public stop(name: string): Promise<void> {
    return this.nodeLocked(name, (node) => stopNode(this.runner, this.place.subnet, node.index));
  }
  public kill(name: string): Promise<void> {
    return this.nodeLocked(name, (node) => killNode(this.runner, this.place.subnet, node.index));
  }
  public async cut(name: string): Promise<void> {
    await cut(this.runner, this.net(await this.node(name)));
  }
  /** Ends `cut` and `cutLink` towards this node. */
  public async heal(name: string): Promise<void> {
    const node = await this.node(name);
    await heal(this.runner, this.net(node));
    await dropFrom(this.runnerOf(node), []);
  }
  /** One direction: packets of `from` no longer arrive at `to` (several senders: name them all at once). `heal(to)` ends it. */
  public async cutLink(from: readonly string[], to: string): Promise<void> {
    const senders = await Promise.all(from.map(async (name) => this.net(await this.node(name))));
    await dropFrom(this.runnerOf(await this.node(to)), senders);
  }

  /** Takes a node away with its disks. One that is not there is success. */
  public async destroyNode(name: string): Promise<void> {
    if ((await readNode(this.place.dir, name)) !== undefined) await this.kill(name);
    await this.locked(async () => {
      if (readRecord(this.place.dir)?.id !== this.place.id) return; // the whole lab has gone
      const node = await readNode(this.place.dir, name);
      if (node !== undefined) {
        await removeNode(this.place, name);
        rmSync(runFolder(this.place.subnet, node.index), { recursive: true, force: true });
      }
      await writeHosts(this.place);
    });
  }
  /** Ends everything and removes the lab's folder (the operator's key stays when it lies elsewhere). */
  public destroy(): Promise<void> {
    return withLock(registryLock, lockMs, () => this.locked(() => this.removeAll()));
  }
  private async removeAll(): Promise<void> {
    if (readEntry(this.place.subnet)?.id === this.place.id) await clearRegistered(this.runner, this.place.subnet);
    if (readRecord(this.place.dir)?.id === this.place.id) rmSync(this.place.dir, { recursive: true, force: true });
  }
  /** Destroys the lab when it has no node left; the counterpart of `openLab` for whoever deletes nodes one by one. */
  public destroyIfEmpty(): Promise<void> {
    return withLock(registryLock, lockMs, () => this.locked(async () => {
      if ((await this.nodes()).length === 0) await this.removeAll();
    }));
  }
}
