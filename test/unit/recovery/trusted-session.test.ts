import type { Session } from "../../../daemon/context.js";
import { trustedSession } from "../../../daemon/recovery/trusted-session.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";

test("while the cluster recovers no mechanism owns anything, whatever the sign of life and the promises say; before and after, the session is as it is", () => {
  const session: Session = { generation: 7, isLive: () => true, deadlineMs: () => 5000, owns: () => true, held: () => new Map([["site-a", 9000]]), silentMs: () => 3 };
  let recovers = false;
  let read = true;
  const current = (): ClusterState => {
    if (!read) throw new Error("nothing was read yet");
    return {} as ClusterState;
  };
  const trusted = trustedSession(session, { isRecovering: () => recovers }, { current });
  const seen = (): unknown[] => [trusted.generation, trusted.isLive(), trusted.deadlineMs(), trusted.owns("site-a"), trusted.held().size, trusted.silentMs()];
  expect(seen()).toEqual([7, true, 5000, true, 1, 3]);
  recovers = true;
  expect(seen()).toEqual([7, false, 0, false, 0, 3]);
  read = false;
  expect(seen()).toEqual([7, true, 5000, true, 1, 3]);
});
