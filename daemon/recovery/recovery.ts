import { sleepUntilTick } from "../lib/clock.js";
import type { NodeContext } from "../context.js";
import { messageOf } from "../lib/errors.js";
import { keys, type RecoveryRecord } from "../lib/records.js";
import type { Leader } from "../membership/leader.js";
import { isRecovering, precedes } from "../state/cluster-state.js";
import type { Compare } from "../state/store.js";
import { lookAtMembers, withLists } from "./gather.js";
import { promiseMs } from "../failsafe/plan-failsafe.js";
import { copiesOf, planRebuild } from "./plan-rebuild.js";

const tickMs = 1_000;
const detailLimit = 2_000;
const promiseSlackMs = 2_000;

/**
 * The leader's part of a recovery: waits until every member that was not excluded has told what its disk holds, under the new lineage and with nothing mounted, then rebuilds all records and closes the recovery. Each write is
 * compared with the leader's record, the recovery's and the unit's: another leader, or a person who excludes one more, starts it over, and what was rebuilt by then is planned again from the same disks, one epoch higher.
 */
export class Recovery {
  private waits = "";
  /** Since when all have told, of which form of the recovery. */
  private heard: { revision: string; atMs: number } | undefined;
  public constructor(private readonly options: { context: NodeContext; leader: Pick<Leader, "guard"> }) {}

  /** What the last round waited for; "" = nothing. For people. */
  public waitsFor(): string {
    return this.waits;
  }

  private wait(why: string): void {
    this.waits = why;
  }

  public async step(): Promise<void> {
    const { context, leader } = this.options;
    const guard = leader.guard();
    const state = context.view.current();
    const recovery = state.recovery;
    if (guard === undefined || recovery === undefined || !isRecovering(state)) return this.wait("");
    if (precedes(state, guard)) return;
    const told = await lookAtMembers(context, recovery.value);
    this.wait(told.waitsFor.map(({ node, why }) => `${node}: ${why}`).join("; "));
    if (this.waits !== "") {
      this.heard = undefined;
      return;
    }
    const nowMs = context.clock.monotonicMs();
    if (this.heard?.revision !== recovery.revision) this.heard = { revision: recovery.revision, atMs: nowMs };
    // whoever was left out may still go on by promises of those that have joined by now, and give none any more (daemon/failsafe)
    if (recovery.value.excluded.length > 0 && nowMs - this.heard.atMs < promiseMs + promiseSlackMs) return this.wait("promises that were given to nodes that are left out have to end");
    const { writes, problems } = planRebuild(state, await withLists(context, copiesOf(told.reports), () => true));
    const held: Compare[] = [guard, { key: keys.recovery, modRevision: recovery.revision }];
    for (const write of writes) {
      const { succeeded } = await context.store.txn([...held, ...write.compare], write.ops);
      if (!succeeded) return this.wait(`${write.key} changed meanwhile`); // the next round sees it
      context.log.warn({ record: write.key, detail: write.event?.detail }, "rebuilt");
      if (write.event !== undefined) context.event(write.event.unit, write.event.event, write.event.detail);
    }
    const open = Object.entries(problems).map(([unit, why]) => `${unit}: ${why}`).join("; ");
    const detail = `${writes.length} units rebuilt from the disks of ${told.reports.map(({ node }) => node).join(", ")}${open === "" ? "" : `; left as they were: ${open}`}`.slice(0, detailLimit);
    const done: RecoveryRecord = { ...recovery.value, state: "done", detail };
    const { succeeded } = await context.store.txn(held, [{ put: keys.recovery, value: JSON.stringify(done) }]);
    if (!succeeded) return;
    context.log.warn({ lineage: done.lineage, detail }, "the recovery has ended");
    context.event("", "recovered", detail);
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { context } = this.options;
    while (!signal.aborted) {
      await this.step().catch((error: unknown) => {
        this.waits = messageOf(error);
        context.log.warn({ err: error }, "recovery: round failed");
      });
      await sleepUntilTick(context.clock, tickMs, signal);
    }
  }
}
