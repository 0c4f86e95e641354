import type { ClusterState } from "../state/cluster-state.js";

/** Whether a node can be given something now, as seen from `me`: a session that was not declared dead, and an answer on its control port in the last 10 s. Pure. */
export const reachableFrom =
  (me: string) =>
  (state: ClusterState, node: string): boolean => {
    const session = state.sessions.get(node)?.value;
    return session !== undefined && session.dead !== true && (node === me || state.observedNodes.get(me)?.links[node] !== undefined);
  };
