import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import { until } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";
import type { MoveNumbers } from "../../daemon/migration/operations.js";
import type { MovePlan } from "../../daemon/migration/plan-route.js";
import type { UnitWaits } from "../../daemon/migration/waits-route.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import { command } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { json } from "../output.js";
import { unitId } from "../unit-name.js";

interface Operation { id: string; unit: string; state: "running" | "done" | "failed"; phase: string; detail: string; error: unknown; numbers?: MoveNumbers }
/** The workers of the proxies report every 2 s: how long their next ones are waited for, ms. */
const reportsWithinMs = 6_000;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Pure: "412 requests held 0.6 s, 0 failed, 187K". What is not known is said. */
export function heldText(waits: UnitWaits | undefined, numbers: MoveNumbers): string {
  const bytes = `last increment ${formatSize(numbers.lastBytes)}`;
  if (waits === undefined) return `its requests waited for at most ${seconds(numbers.servedAtMs - numbers.holdFromMs)}, ${bytes}`;
  const late = waits.nodes.filter(({ reportedAtMs }) => reportedAtMs < numbers.servedAtMs).map(({ node }) => node);
  const uncounted = [...waits.missing, ...late];
  return `${waits.held} request${waits.held === 1 ? "" : "s"} held${waits.held === 0 ? "" : ` ${seconds(waits.longestMs)}`}, ${waits.failed} failed, ${bytes}${uncounted.length === 0 ? "" : ` (not counted: ${uncounted.join(", ")})`}`;
}
/** Pure: a dry run for people. */
export function planText(plan: MovePlan): string {
  if (plan.has === "same place") return `${plan.unit} is at home on ${plan.to} already: nothing to do.\n`;
  const sends = plan.has === "copy" ? `${plan.to} has a copy: about ${formatSize(plan.sendBytes)} of increments follow` : `${plan.to} has no copy: about ${formatSize(plan.sendBytes)} are sent first, before any request waits`;
  const held = plan.held === undefined ? "no move from this home since its hcd started, so how long requests would wait is not known (about a second on the lab)" : `requests would wait for about ${seconds(plan.held.medianMs)} (the last ${plan.held.moves} moves from this home; the longest ${seconds(plan.held.longestMs)})`;
  return `${plan.unit}: ${plan.from} → ${plan.to}\n  ${sends}\n  ${held}\n  ${plan.refused === "" ? "nothing stands against it; nothing was changed" : `it would be refused: ${plan.refused}`}\n`;
}
const errorText = (error: unknown): string => (typeof error === "string" ? error : ((error as { message?: string } | null)?.message ?? JSON.stringify(error)));

export const moveCommand = command<{ unit: string; to: string; timeout: number; plan: boolean; "max-hold"?: number | undefined }>({
  command: "move <unit>",
  describe: "moves a site to another node: stop, last increment, switch, start; requests wait meanwhile",
  builder: (yargs) => yargs
    .positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" })
    .option("to", { type: "string", demandOption: true, describe: "the node that shall be its home" })
    .option("timeout", { type: "number", default: 600, describe: "seconds to wait for the end" })
    .option("plan", { type: "boolean", default: false, describe: "only tell what would be sent, how long requests would wait, and what stands against it; exit 0 it would begin, 1 not" })
    .option("max-hold", { type: "number", describe: "give up, and go on at the source, when requests would have to wait for longer, seconds (24 where it is not said, and at most: they wait for 30)" })
    .example("$0 move wiki --to n3", "the site wiki lives on n3 afterwards"),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    const maxHold = args["max-hold"];
    if (args.plan) {
      const plan = await cluster().call<MovePlan>("GET", `/v1/units/${unit}/move-plan?to=${encodeURIComponent(args.to)}`);
      output.out(args.json ? json(plan) : planText(plan));
      return plan.refused === "" ? exitCodes.ok : exitCodes.failed;
    }
    const begun = performance.now();
    const { operation } = await cluster().call<{ operation: string }>("POST", `/v1/units/${unit}/move`, { to: args.to, reason: `hc move by ${userInfo().username}@${hostname()} (${randomUUID().slice(0, 8)})`, ...(maxHold === undefined ? {} : { maxHoldMs: Math.round(maxHold * 1000) }) }, 30_000);
    let phase = "";
    let last: UnitWaits | undefined;
    const end = await until(`the move of ${unit}`, { withinMs: args.timeout * 1000, firstMs: 100, capMs: 500 }, async () => {
      const seen = await cluster().call<Operation>("GET", `/v1/operations/${operation}`);
      if (seen.phase !== phase && !args.json) output.err(`  ${unit}: ${seen.phase}${seen.detail === "" ? "" : ` (${seen.detail})`}\n`);
      phase = seen.phase;
      return seen.state === "running" ? undefined : seen;
    });
    if (end.state === "failed") throw new HcError("IMPOSSIBLE_CHANGE", `${unit} was not moved: ${errorText(end.error)}`);
    const took = seconds(performance.now() - begun);
    const { numbers } = end;
    const waits = numbers === undefined ? undefined : await until("what the proxies say", { withinMs: reportsWithinMs, firstMs: 200, capMs: 500 }, async () => {
      const seen = await cluster().call<UnitWaits>("GET", `/v1/units/${unit}/waits?since=${numbers.holdFromMs}`);
      last = seen;
      // what waited is counted when it was let go of, which may be a moment after the target served
      return seen.nodes.every(({ reportedAtMs }) => reportedAtMs > numbers.servedAtMs + 500) ? seen : undefined;
    }).catch(() => last);
    output.out(args.json ? json({ ...end, ...(waits === undefined ? {} : { waits }) }) : `${unit} is at home on ${args.to} (${took}). ${numbers === undefined ? end.detail : heldText(waits, numbers)}\n`);
    return 0;
  },
});
