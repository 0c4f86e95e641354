import { randomOf } from "../support/kill-matrix.js";

/** `clock`: how far the wall clock of hcd's processes is put forward or back, s. */
export const clockJumpS = 3_000;
/** What a fault does to one node (`node`), or to a pair (`quorum`: the etcd members of both are stopped). `seconds`: how long it lasts. */
export type FaultKind = "kill" | "stop" | "cut" | "cut-half" | "cut-link" | "pause-hcd" | "pause-workers" | "pause-fencer" | "pause-etcd" | "pause-zfs" | "pause-all" | "kill-hcd" | "kill-etcd" | "kill-workers" | "kill-zfs" | "fill" | "clock" | "quorum";
export interface Fault { kind: FaultKind; node: string; peer: string; seconds: number }

/** How often each comes. Two thirds hit the node where a site lives, the leader of the cluster among them. */
const weights: readonly (readonly [FaultKind, number])[] = [
  ["kill", 4], ["stop", 1], ["cut", 4], ["cut-half", 1], ["cut-link", 2], ["pause-hcd", 2], ["pause-workers", 1], ["pause-fencer", 1], ["pause-etcd", 1], ["pause-zfs", 1], ["pause-all", 2], ["kill-hcd", 2], ["kill-etcd", 1], ["kill-workers", 1], ["kill-zfs", 1], ["fill", 1], ["clock", 1], ["quorum", 2],
];
export const faultKinds: readonly FaultKind[] = weights.map(([kind]) => kind);

/** An endless row of faults; the same seed gives the same row. `homes`: the nodes where sites live now. `each`: the kinds in their order, again and again, all at homes. Pure but for the generator's own state. */
export function faultsOf(seed: number, nodes: readonly string[], only: readonly FaultKind[] = faultKinds, each = false): (homes: readonly string[]) => Fault {
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const bag = weights.filter(([kind]) => only.includes(kind)).flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
  let count = 0;
  return (homes) => {
    const kind = each ? (only[count++ % only.length] as FaultKind) : pick(bag);
    const [target, any, other, length] = [random() * (each ? 2 / 3 : 1), pick(nodes), pick(nodes.slice(1)), random()];
    const node = target < 2 / 3 && homes.length > 0 ? (homes[Math.floor(target * 1.5 * homes.length)] as string) : any;
    return { kind, node, peer: other === node ? (nodes[0] as string) : other, seconds: Math.round(kind.startsWith("kill-") ? 0 : 3 + length * length * 27) };
  };
}
export const faultText = ({ kind, node, peer, seconds }: Fault): string => `${kind} ${node}${kind === "cut-link" || kind === "cut-half" || kind === "quorum" ? ` and ${peer}` : ""}${seconds === 0 ? "" : ` for ${seconds} s`}`;
