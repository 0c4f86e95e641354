import { chown, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { until } from "../lib/backoff.js";
import { type CommandRunner, runOk } from "../lib/command.js";
import { writeFileAtomic } from "../lib/atomic-file.js";
import { HcError } from "../lib/errors.js";
import type { ClusterConfig, HostConfig } from "../lib/node-config.js";
import type { EtcdCluster } from "../membership/etcd-cluster.js";
import { etcdArgv, etcdDefinition, type EtcdInitial, etcdPaths, etcdService, etcdUser, peerUrl } from "../membership/etcd-commands.js";
import type { EtcdMember } from "../membership/etcd-member.js";
import type { Platform } from "../platform/platform.js";

/** From what etcd begins anew: this member's own data, a file of `etcdctl snapshot save` on this node, or nothing (then documents and records come from the disks). */
export type RecoverSource = { from: "own" } | { from: "backup"; file: string } | { from: "disks" };
export interface ForceOptions { host: HostConfig; cluster: ClusterConfig; platform: Platform; runner: CommandRunner; member: EtcdMember; etcd: Pick<EtcdCluster, "status">; signal: AbortSignal }

const stopMs = 30_000;
const answerMs = 60_000;
const copyMs = 600_000;

/**
 * etcd of this node as the only member of a cluster that goes on from `source` (https://etcd.io/docs/v3.4/op-guide/recovery/). The old data stays in `<etcd>.before-recover` (one set). Steps can be repeated: broken anywhere,
 * the next call begins again, from that copy when its own data is gone. The note of the member counts up, so that voters with older data put theirs aside. Throws NOT_FOUND (no data, no file), COMMAND_FAILED, TIMEOUT.
 */
export async function forceEtcd(options: ForceOptions, source: RecoverSource): Promise<void> {
  const { host, cluster, platform, runner, member } = options;
  const me = cluster.members.find(({ node }) => node === cluster.node);
  if (me === undefined || !member.isVoter()) throw new HcError("INVALID_INPUT", `${cluster.node} is no voter of etcd: choose one of ${member.voters().join(", ")}.`);
  const paths = etcdPaths(host);
  const before = `${paths.data}.before-recover`;
  const binary = await programPath("etcd");
  if (source.from === "backup" && !(await exists(source.file))) throw new HcError("NOT_FOUND", `There is no file ${source.file} on ${cluster.node}.`);
  await member.alone(async () => {
    const forced = (await member.forced()) + 1;
    const initial: EtcdInitial = { version: 1, clusterId: cluster.clusterId, state: "new", initialCluster: `${cluster.node}=${peerUrl(me)}`, memberId: "", started: true, forced };
    const argv = etcdArgv(binary, host, cluster, initial);
    const run = async (words: readonly string[]): Promise<void> => {
      await platform.defineService(etcdDefinition([...words]));
      await platform.restartService(etcdService);
      await until(`etcd of ${cluster.node}`, { firstMs: 50, capMs: 200, withinMs: answerMs, signal: options.signal }, async () => ((await options.etcd.status(member.ownEndpoint(), 1500).catch(() => undefined))?.leader ?? "0") !== "0" || undefined);
    };
    await platform.stopService(etcdService);
    await until(`the stop of etcd on ${cluster.node}`, { firstMs: 50, capMs: 500, withinMs: stopMs, signal: options.signal }, async () => ((await platform.serviceStates(etcdService)).get(etcdService) === "active" ? undefined : true));
    if (source.from === "own") {
      if (!(await exists(`${paths.data}/member`))) throw new HcError("NOT_FOUND", `${cluster.node} has no data of etcd (${paths.data}): give a backup with --from, or build the records from the disks with --from-disks.`);
      await rm(before, { recursive: true, force: true });
      await runOk(runner, ["cp", "-a", paths.data, before], { timeoutMs: copyMs });
      await writeFileAtomic(paths.initial, JSON.stringify(initial), { mode: 0o600 });
      await run([...argv, "--force-new-cluster"]);
    } else {
      if (source.from === "backup") await restored(options, source.file, `${paths.data}.restored`, initial, argv);
      if (await exists(`${paths.data}/member`)) {
        await rm(before, { recursive: true, force: true });
        await rename(paths.data, before);
      } else await rm(paths.data, { recursive: true, force: true });
      if (source.from === "backup") await rename(`${paths.data}.restored`, paths.data);
      else await own(options, paths.data);
      await writeFileAtomic(paths.initial, JSON.stringify(initial), { mode: 0o600 });
    }
    await run(argv);
  });
}

async function restored({ runner, cluster }: ForceOptions, file: string, folder: string, initial: EtcdInitial, argv: readonly string[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  const advertise = argv.find((word) => word.startsWith("--initial-advertise-peer-urls=")) as string;
  await runOk(runner, [await programPath("etcdctl"), "snapshot", "restore", file, `--data-dir=${folder}`, `--name=${cluster.node}`, `--initial-cluster=${initial.initialCluster}`, `--initial-cluster-token=${cluster.clusterId}`, advertise], { timeoutMs: copyMs });
  await runOk(runner, ["chown", "-R", `${etcdUser}:`, folder], { timeoutMs: 60_000 });
}
/** An empty data folder as the member's start makes it. */
async function own({ runner }: ForceOptions, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const id = async (flag: string): Promise<number> => Number((await runOk(runner, ["id", flag, etcdUser], { timeoutMs: 5000 })).trim());
  await chown(folder, await id("-u"), await id("-g"));
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
/** FreeBSD's package installs to /usr/local/bin. */
async function programPath(name: string): Promise<string> {
  for (const folder of ["/usr/bin", "/usr/local/bin"]) if ((await readdir(folder).catch(() => [] as string[])).includes(name)) return join(folder, name);
  throw new HcError("COMMAND_NOT_FOUND", `${name} is not installed on this node${name === "etcdctl" ? " (Debian: the package etcd-client)" : "; run `hc up`, which prepares hosts"}.`);
}
