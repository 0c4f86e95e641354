import { randomBytes } from "node:crypto";
import { chmod, mkdir, open, readdir, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readFileIfAny, writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import { type LabNet, nodeNet } from "./addresses.js";
import { makeKey } from "./keys.js";
import { hostsFile, type LabPlace, type NodeRecord, nodeFolder, nodesFolder } from "./place.js";

/** sshd: keys only. ClientAlive, because a connection that was cut would otherwise stand for ever (and a `zfs recv` with it). */
const sshdConfig = `HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
UsePAM no
MaxSessions 200
MaxStartups 100
ClientAliveInterval 2
ClientAliveCountMax 3
StreamLocalBindUnlink yes
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
PidFile /run/sshd.pid
`;
/** Nothing listens there: a lookup fails at once. A copied resolv.conf would hang for 10 s each, as no packet leaves the machine. */
const resolvConf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

export async function readNode(dir: string, name: string): Promise<NodeRecord | undefined> {
  const text = await readFileIfAny(join(nodeFolder(dir, name), "node.json"));
  return text === undefined ? undefined : (JSON.parse(text) as NodeRecord);
}

/** All nodes of a lab, by number. */
export async function readNodes(dir: string): Promise<NodeRecord[]> {
  const names = await readdir(nodesFolder(dir)).catch(() => [] as string[]);
  const nodes = await Promise.all(names.filter((name) => !name.startsWith(".")).map((name) => readNode(dir, name)));
  return nodes.filter((node) => node !== undefined).sort((a, b) => a.index - b.index);
}

/**
 * Makes a node's folder: complete under another name, then renamed, so that a half-made node never counts. The caller holds the lab's lock.
 * Layout: node.json, upper/ work/ root/ (overlay), disks/.
 */
export async function makeNode(place: LabPlace, request: Omit<NodeRecord, "version" | "hostKey">, operatorKey: string): Promise<NodeRecord> {
  const building = join(nodesFolder(place.dir), `.new-${request.name}`);
  await rm(building, { recursive: true, force: true });
  const upper = join(building, "upper");
  for (const folder of ["work", "root", "disks", "upper/etc/ssh", "upper/root/.ssh"]) await mkdir(join(building, folder), { recursive: true });
  await chmod(join(upper, "root"), 0o700);
  await chmod(join(upper, "root/.ssh"), 0o700);
  const key = makeKey(request.name);
  const files: [string, string, number][] = [
    ["etc/hostname", `${request.name}\n`, 0o644],
    ["etc/hosts", "", 0o644],
    ["etc/machine-id", `${randomBytes(16).toString("hex")}\n`, 0o444],
    ["etc/resolv.conf", resolvConf, 0o644],
    ["etc/ssh/sshd_config", sshdConfig, 0o644],
    ["etc/ssh/ssh_host_ed25519_key", key.privateKey, 0o600],
    ["etc/ssh/ssh_host_ed25519_key.pub", `${key.publicKey}\n`, 0o644],
    ["root/.ssh/authorized_keys", `${operatorKey} hybridcluster\n`, 0o600],
  ];
  for (const [path, text, mode] of files) await writeFile(join(upper, path), text, { mode });
  const node: NodeRecord = { version: 1, ...request, hostKey: key.publicKey };
  await growDisks(join(building, "disks"), node);
  await writeFile(join(building, "node.json"), `${JSON.stringify(node, null, 2)}\n`);
  await rename(building, nodeFolder(place.dir, request.name));
  return node;
}

/** Takes a node's folder away: renamed first, so that a removal that is killed leaves no half of a node. The caller holds the lab's lock. */
export async function removeNode(place: LabPlace, name: string): Promise<void> {
  const folder = nodesFolder(place.dir);
  await rename(nodeFolder(place.dir, name), join(folder, `.gone-${randomBytes(4).toString("hex")}-${name}`));
  for (const left of await readdir(folder)) if (left.startsWith(".gone-")) await rm(join(folder, left), { recursive: true, force: true });
}

async function growDisks(folder: string, node: NodeRecord): Promise<void> {
  for (const [number, disk] of node.disks.entries()) {
    const path = join(folder, `d${number}.img`);
    await (await open(path, "a", 0o600)).close();
    await truncate(path, Number(disk.sizeBytes)); // sparse: takes space as it is written
  }
}

/** Records another wish for disks (more, or larger ones) and memory. The caller has checked that nothing shrinks. */
export async function changeNode(place: LabPlace, node: NodeRecord): Promise<void> {
  await growDisks(join(nodeFolder(place.dir, node.name), "disks"), node);
  await writeFileAtomic(join(nodeFolder(place.dir, node.name), "node.json"), `${JSON.stringify(node, null, 2)}\n`);
}

export function hostsText(net: LabNet, nodes: readonly Pick<NodeRecord, "name" | "index">[]): string {
  const lines = nodes.flatMap(({ name, index }) => {
    const { v4, v6 } = nodeNet(net.subnet, index);
    return [`${v4} ${name}`, `${v6} ${name}`];
  });
  return ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", ...lines, ""].join("\n");
}

/** Written in place, not renamed: running nodes have the file itself mounted over their /etc/hosts. */
export async function writeHosts(place: LabPlace): Promise<void> {
  await writeFile(hostsFile(place.dir), hostsText(place.net, await readNodes(place.dir)), { mode: 0o644 });
}
