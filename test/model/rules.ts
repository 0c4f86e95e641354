import { knowsStanding } from "../../daemon/agent/start-grace.js";
import { assertHome } from "../../daemon/agent/records.js";
import { planUnit } from "../../daemon/agent/plan-unit.js";
import { choose } from "../../daemon/failover/choose.js";
import { planDeath } from "../../daemon/failover/plan-death.js";
import { promoted, refusal as policyRefusal, victims } from "../../daemon/failover/plan-failover.js";
import { asked, heldUnits, promised, promiseMs, quietMs, refusal as promiseRefusal, seesQuorum, standingPromise } from "../../daemon/failsafe/plan-failsafe.js";
import { afterTry, fenceOrder, planFence, whyNotFree } from "../../daemon/fencer/plan-fence.js";
import { leaderIsGone } from "../../daemon/membership/leader.js";
import { countsAsAlive, silentFor } from "../../daemon/membership/liveness.js";
import { afterCommit, afterLoss, afterPromises, heldBy, isLive, isStanding, mayInherit, nextGeneration, ownsUnit } from "../../daemon/membership/standing.js";
import { nextState } from "../../daemon/migration/fsm.js";
import { handedOver, judge, stopSeen, withoutMove } from "../../daemon/migration/mover.js";
import { checkMove } from "../../daemon/migration/plan-move.js";
import { isServable, laterDeadlines } from "../../daemon/proxy/gate.js";
import { buildRoutes } from "../../daemon/proxy/routes.js";
import { decide } from "../../daemon/replication/logic.js";
import { mayRecord } from "../../daemon/replication/snapshotter.js";
import { keepsOut, laterSeal, sealRefusal, takesStream } from "../../daemon/replication/seal.js";

/**
 * The daemon's own functions, as the model calls them. A mutant (mutants.ts) is this table with one entry replaced, and three switches for what lies in acts and not in functions:
 * whether a copy notes its seal, whether the source's undo is a write, whether the fencer acts.
 */
export const daemonRules = {
  // membership
  afterCommit, afterLoss, afterPromises, heldBy, isLive, isStanding, mayInherit, nextGeneration, ownsUnit, countsAsAlive, silentFor, leaderIsGone,
  // failover
  planDeath, victims, choose, promoted, policyRefusal,
  // failsafe
  asked, heldUnits, promised, promiseRefusal, seesQuorum, standingPromise, promiseMs, quietMs,
  // fencer
  planFence, afterTry, fenceOrder, whyNotFree,
  // agent
  planUnit, assertHome, knowsStanding,
  // replication
  decide, mayRecord, keepsOut, laterSeal, sealRefusal, takesStream,
  // moves
  nextState, judge, stopSeen, handedOver, withoutMove, checkMove,
  // proxy
  buildRoutes, isServable, laterDeadlines,
  // switches
  notesSeal: true, undoIsWrite: true, fencerActs: true,
};
export type Rules = typeof daemonRules;
