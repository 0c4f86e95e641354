import { changeRecord } from "../agent/records.js";
import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { maintenanceOf, type UnitRecord } from "../lib/records.js";
import { atHome } from "./at-home.js";

/** What runs when a person holds a unit has so long to end, ms. */
const drainMs = 5_000;
const longestS = 24 * 3600;

/**
 * `hc hold` and `hc release`: the gate of a unit is closed for maintenance, for a bounded time. It stands in the record, so that every node can tell of it, and a home that dies or whose hcd starts anew
 * goes on with it; requests wait at the edges for as long as they do for a move (30 s), and are answered with 503 and Retry-After then. It is over by the home's clock, which then takes it out of the
 * record. Returns the end of its watch.
 */
export function startMaintenance(context: NodeContext): () => void {
  const { clock, cluster, log, signal } = context;
  /** unit → the hold that this process keeps up: how many requests still ran when it had drained, or might not wait any longer. */
  const kept = new Map<string, Promise<number>>();
  const release = (unit: string): void => {
    if (kept.delete(unit)) context.gates.release(unit, "person");
  };
  const look = (): void => {
    const nowMs = clock.wallMs();
    const { units } = context.view.current();
    for (const unit of kept.keys()) if (units.get(unit)?.value.home !== cluster.node || maintenanceOf(units.get(unit)?.value, nowMs) === undefined) release(unit);
    for (const { value: record } of units.values()) {
      const hold = maintenanceOf(record, nowMs);
      if (hold === undefined || record.home !== cluster.node || kept.has(record.unit) || context.gates.held().includes(record.unit)) continue;
      const drained = context.gates.hold(record.unit, drainMs, signal, "person");
      kept.set(record.unit, drained);
      drained.catch((error: unknown) => {
        kept.delete(record.unit);
        if (errorCode(error) !== "ABORTED") log.warn({ unit: record.unit, reason: messageOf(error) }, "a unit could not be held");
      });
    }
  };
  const forget = async (): Promise<void> => {
    for (const { value: { unit, home, hold } } of context.view.current().units.values())
      if (home === cluster.node && hold !== undefined && hold.untilMs <= clock.wallMs())
        await changeRecord(context, unit, ({ hold: present, ...rest }) => (rest.home === cluster.node && present?.id === hold.id ? rest : undefined)).catch((error: unknown) => log.info({ unit, reason: messageOf(error) }, "a hold that is over is still in the record"));
  };
  const write = (unit: string, hold: UnitRecord["hold"]): Promise<unknown> => changeRecord(context, unit, (record) => {
    if (record.home !== cluster.node) throw new HcError("NOT_HOME", `${unit} is at home on ${record.home}.`);
    const { hold: before, ...rest } = record;
    if (hold === undefined) return before === undefined ? undefined : rest;
    if (record.state !== "live") throw new HcError("NOT_READY", `${unit} is ${record.state}: it cannot be held.`, { retry: "never" });
    if (record.move !== undefined) throw new HcError("CONFLICT", `${unit} is moving to ${record.move.target}; hold it afterwards.`, { retry: "never" });
    return { ...rest, hold };
  });
  atHome(context, "POST", "hold", async (unit, { json }) => {
    const body = (await json()) as { forS?: unknown; reason?: unknown } | null;
    const forS = body?.forS;
    if (typeof forS !== "number" || !Number.isInteger(forS) || forS < 1 || forS > longestS) throw new HcError("INVALID_INPUT", `forS: must be a whole number of seconds from 1 to ${longestS}.`);
    const reason = typeof body?.reason === "string" ? body.reason.slice(0, 200) : "";
    const untilMs = clock.wallMs() + forS * 1000;
    await write(unit, { id: String(untilMs), untilMs, reason });
    look();
    context.event(unit, "held", `for ${forS} s: ${reason}`);
    return { unit, untilMs, inFlight: await kept.get(unit) ?? 0 };
  });
  atHome(context, "DELETE", "hold", async (unit) => {
    await write(unit, undefined);
    release(unit);
    context.event(unit, "released", "");
    return { unit };
  });
  const endWatch = context.view.onChange(look);
  void (async () => {
    while (!signal.aborted) {
      look();
      await forget();
      await clock.sleep(1_000, signal).catch(() => undefined);
    }
  })();
  // nothing is released at the end of this process: the workers keep a gate closed for a few seconds more (gates.ts), and the next one goes on with it
  return endWatch;
}
