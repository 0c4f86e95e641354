import type { Session } from "../context.js";
import type { View } from "../state/cluster-state.js";
import type { EtcdGuard } from "./etcd-guard.js";

/** The session as the mechanisms see it: while the cluster recovers nobody may own anything, as if no sign of life were counted and nothing promised. The membership's own parts see the real one. */
export function trustedSession(session: Session, guard: Pick<EtcdGuard, "isRecovering">, view: Pick<View, "current">): Session {
  const recovers = (): boolean => {
    try {
      return guard.isRecovering(view.current());
    } catch {
      return false; // nothing was read yet: nothing is planned from it either
    }
  };
  return {
    get generation() {
      return session.generation;
    },
    get isInherited() {
      return session.isInherited === true;
    },
    isLive: () => session.isLive() && !recovers(),
    deadlineMs: () => (recovers() ? 0 : session.deadlineMs()),
    owns: (unit) => session.owns(unit) && !recovers(),
    held: () => (recovers() ? new Map() : session.held()),
    silentMs: () => session.silentMs(),
  };
}
