import type { ClusterConfig, HostConfig, Member } from "../lib/node-config.js";
import type { ServiceDefinition } from "../platform/platform.js";

export const etcdService = "hcd-etcd";
export const etcdUser = "_hcetcd";

export interface EtcdPaths { data: string; pki: string; initial: string }
export const etcdPaths = (host: HostConfig): EtcdPaths => ({ data: `${host.paths.state}/etcd`, pki: `${host.paths.state}/etcd-pki`, initial: `${host.paths.state}/etcd-initial.json` });

/** How this member began; kept beside its data, so that its command line never changes and a lost data folder is noticed. */
export interface EtcdInitial { version: 1; clusterId: string; state: "new" | "existing"; initialCluster: string; memberId: string; /** It answered at least once: from then on missing data is lost data. */ started?: boolean; /** How often it was begun anew by a person's word; missing: never. */ forced?: number }

const bracket = (address: string): string => (address.includes(":") ? `[${address}]` : address);
export const peerUrl = (member: Member): string => `https://${bracket(member.addresses[0] ?? member.node)}:${member.ports.etcdPeer}`;
export const clientUrl = (member: Member): string => `https://${bracket(member.addresses[0] ?? member.node)}:${member.ports.etcdClient}`;

/**
 * Flags of etcd 3.4 (https://etcd.io/docs/v3.4/op-guide/configuration/). It listens on all addresses, since a node's own may be
 * translated (NAT); only certificates of the cluster's CA get in, on both ports. Peers are known by the CA alone: their source
 * address may be any of theirs. Compaction each hour; quota 2 GiB. The strict check of membership changes is off: it makes each join wait 5 s for
 * the one before, and guards against adding voters that are not there; ours are learners, which etcd promotes only in step, check or not.
 */
export function etcdArgv(binary: string, host: HostConfig, cluster: ClusterConfig, initial: EtcdInitial): string[] {
  const me = cluster.members.find((member) => member.node === cluster.node);
  if (me === undefined) return [];
  const paths = etcdPaths(host);
  const tls = (prefix: string): string[] => [`--${prefix}cert-file=${paths.pki}/node.crt`, `--${prefix}key-file=${paths.pki}/node.key`, `--${prefix}trusted-ca-file=${paths.pki}/ca.crt`, `--${prefix}client-cert-auth=true`];
  return [
    binary,
    `--name=${cluster.node}`,
    `--data-dir=${paths.data}`,
    `--listen-peer-urls=https://0.0.0.0:${me.ports.etcdPeer}`,
    `--listen-client-urls=https://0.0.0.0:${me.ports.etcdClient}`,
    `--initial-advertise-peer-urls=${peerUrl(me)}`,
    `--advertise-client-urls=${clientUrl(me)}`,
    `--initial-cluster=${initial.initialCluster}`,
    `--initial-cluster-state=${initial.state}`,
    `--initial-cluster-token=${cluster.clusterId}`,
    `--heartbeat-interval=${cluster.etcd.heartbeatMs}`,
    `--election-timeout=${cluster.etcd.electionMs}`,
    // a member that was cut off comes back with a term of its own invention and, without this (3.4's default), unseats every leader until it has caught up: seen, 6 s without a commit, and two well nodes fenced
    "--pre-vote=true",
    "--quota-backend-bytes=2147483648",
    "--auto-compaction-mode=periodic",
    "--auto-compaction-retention=1h",
    "--strict-reconfig-check=false",
    "--experimental-peer-skip-client-san-verification=true",
    "--logger=zap",
    "--log-outputs=stderr",
    ...tls(""),
    ...tls("peer-"),
  ];
}

export function etcdDefinition(argv: readonly string[]): ServiceDefinition {
  return { name: etcdService, description: "HybridCluster state (etcd)", argv, user: etcdUser, restart: "always", environment: { GOMAXPROCS: "2" }, urgent: true };
}

export interface RawMember { ID?: string; name?: string; peerURLs?: string[]; clientURLs?: string[]; isLearner?: boolean }

/** What this node has to do to be a voting member, one step at a time; each step can be repeated. */
export type JoinStep =
  | { do: "start" }
  | { do: "add"; setAside: boolean }
  | { do: "remove"; id: string; why: string }
  | { do: "wait"; why: string }
  | { do: "promote"; id: string }
  | { do: "none" };

export interface JoinFacts {
  node: string;
  peerUrl: string;
  /** Member list as etcd tells it. */
  members: readonly RawMember[];
  /** `<data>/member` exists. */
  hasData: boolean;
  initial: EtcdInitial | undefined;
  /** The own etcd answers as started. */
  running: boolean;
}

/**
 * Pure. A member is known by its peer URL (its name is empty until it has started). etcd 3.4 allows one learner at a time, which is
 * the lock among joining nodes: a second `add` is refused until the first was promoted or removed.
 */
export function joinStep(facts: JoinFacts): JoinStep {
  const mine = facts.members.find((member) => member.peerURLs?.includes(facts.peerUrl) === true || (member.name === facts.node && member.name !== ""));
  if (mine === undefined) {
    const learner = facts.members.find((member) => member.isLearner === true);
    if (learner !== undefined) return { do: "wait", why: `${learner.name === "" || learner.name === undefined ? "another node" : learner.name} is joining etcd` };
    // Data of a member that was removed can never be used again (etcd refuses it): it goes aside.
    return { do: "add", setAside: facts.hasData };
  }
  const id = mine.ID ?? "";
  const known = facts.initial?.memberId === id || (facts.initial?.state === "new" && facts.initial.memberId === "");
  const neverStarted = (mine.name ?? "") === "";
  if (!known && neverStarted) return { do: "remove", id, why: "it was added, but this node did not note it" };
  if (!known) return { do: "remove", id, why: "its data folder is lost" };
  if (!facts.hasData && !facts.running && !neverStarted) return { do: "remove", id, why: "its data folder is lost" };
  if (!facts.running) return { do: "start" };
  return mine.isLearner === true ? { do: "promote", id } : { do: "none" };
}

/** `--initial-cluster` of a learner: all members that have started, and itself. */
export function initialCluster(node: string, ownPeerUrl: string, members: readonly RawMember[]): string {
  const others = members.filter((member) => (member.name ?? "") !== "" && member.name !== node).flatMap((member) => (member.peerURLs ?? []).map((url) => `${member.name}=${url}`));
  return [...others, `${node}=${ownPeerUrl}`].join(",");
}
