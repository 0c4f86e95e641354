import type { Status, StatusNode, StatusUnit } from "./status.js";

/** Seconds from a power cut to the first answer elsewhere, as measured (README): the median, for people. */
const failoverS = 10;
/** What nobody can have seen of the last writes (failover/possible-loss.ts). */
const unseenS = 7;

/** `forS` null: until the node is back, or a person acts. `missingS`: seconds of writes that may be missing afterwards; null: all of them, while it is away. */
export interface LostUnit { unit: string; forS: number | null; missingS: number | null; why: string }
export interface LossCheck {
  node: string;
  /** May it be switched off now: nothing waits for its return, and etcd goes on. */
  ok: boolean;
  quorum: { ok: boolean; why: string };
  /** At home there, and served elsewhere after a moment. */
  moves: LostUnit[];
  /** Down until it is back. */
  down: LostUnit[];
  /** At home elsewhere, and then without any other copy. */
  lastCopy: string[];
}

const inStep = (nodes: ReadonlyMap<string, StatusNode>, { replicas }: StatusUnit, except: string): { node: string; lagS: number }[] =>
  replicas.flatMap(({ node, lagSeconds, state }) => (node !== except && nodes.get(node)?.alive === true && lagSeconds !== null && state !== "failing" && state !== "away" ? [{ node, lagS: lagSeconds }] : [])).sort((a, b) => a.lagS - b.lagS);

/** Pure: "can I lose this node now?", from what `hc status` knows. Undefined: there is no such node. */
export function checkLoss(status: Pick<Status, "nodes" | "units">, name: string): LossCheck | undefined {
  const nodes = new Map(status.nodes.map((node) => [node.name, node]));
  if (!nodes.has(name)) return undefined;
  const quorum = quorumWithout(status.nodes, name);
  const check: LossCheck = { node: name, ok: false, quorum, moves: [], down: [], lastCopy: [] };
  for (const unit of status.units) {
    if (unit.home === "" || unit.state === "deleting") continue;
    const copies = inStep(nodes, unit, name);
    const [best] = copies;
    if (unit.home !== name && nodes.get(unit.home)?.alive === true) {
      if (unit.replicas.some(({ node }) => node === name) && copies.length === 0) check.lastCopy.push(unit.id);
      continue;
    }
    if (unit.home !== name && !unit.replicas.some(({ node }) => node === name)) continue; // down already, and not for this node
    const { policy, maxLossS } = unit.failover ?? { policy: "safe", maxLossS: 60 };
    const missingS = best === undefined ? null : Math.ceil(best.lagS) + unseenS;
    const down = (why: string): void => void check.down.push({ unit: unit.id, forS: null, missingS, why });
    if (best === undefined) down(unit.replicas.length === 0 ? "it has no other copy" : "no other copy is alive and in step");
    else if (!quorum.ok) down("without etcd's quorum nothing fails over");
    else if (policy === "manual") down(`its policy is manual: \`hc promote ${unit.name}\` brings it back on ${best.node}`);
    else if (policy === "safe" && (missingS as number) > maxLossS) down(`the best copy, on ${best.node}, is ${Math.round(best.lagS)} s behind, and up to ${missingS} s of writes may be missing, more than maxLossS (${maxLossS}): \`hc promote ${unit.name}\` accepts that`);
    else check.moves.push({ unit: unit.id, forS: failoverS, missingS, why: `served on ${best.node}` });
  }
  check.ok = quorum.ok && check.down.length === 0;
  return check;
}

function quorumWithout(nodes: readonly StatusNode[], name: string): LossCheck["quorum"] {
  const voters = nodes.filter(({ etcd }) => etcd.role === "voter");
  const up = voters.filter(({ name: node, etcd, alive }) => node !== name && alive && etcd.healthy).length;
  const need = Math.floor(voters.length / 2) + 1;
  if (up >= need) return { ok: true, why: "" };
  return { ok: false, why: voters.length === 1 ? `${name} is etcd's only voter: nothing could be changed or fail over until it is back` : `${up} of ${voters.length} voters of etcd would be left, and ${need} are needed` };
}
