import type { ClusterConfig } from "../lib/node-config.js";
import type { EtcdEndpoint } from "../state/etcd-connection.js";

/** Pure: members of etcd to ask, the own one first (loopback), then the others' addresses. */
export function etcdEndpoints(cluster: Pick<ClusterConfig, "members" | "node">, voting: readonly string[]): EtcdEndpoint[] {
  const voters = cluster.members.filter((member) => voting.includes(member.node));
  const others = voters.filter((member) => member.node !== cluster.node);
  const own = voters.filter((member) => member.node === cluster.node).map((member) => ({ node: member.node, address: "127.0.0.1", port: member.ports.etcdClient }));
  const firsts = others.map((member) => ({ node: member.node, address: member.addresses[0] ?? member.node, port: member.ports.etcdClient }));
  const rest = others.flatMap((member) => member.addresses.slice(1).map((address) => ({ node: member.node, address, port: member.ports.etcdClient })));
  return [...own, ...firsts, ...rest];
}
