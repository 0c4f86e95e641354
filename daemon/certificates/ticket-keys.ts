import { randomBytes } from "node:crypto";
import { sleepUntilTick } from "../lib/clock.js";
import type { NodeContext } from "../context.js";
import { messageOf } from "../lib/errors.js";
import { keys, recordVersion, type TicketRecord } from "../lib/records.js";
import type { Sealer } from "../lib/sealed.js";
import type { Leader } from "../membership/leader.js";
import { precedes } from "../state/cluster-state.js";

/** Name, HMAC key and AES key of session tickets: what `server.setTicketKeys` takes (RFC 5077 §4). */
export const ticketBytes = 48;
/** Whoever has the keys can read the sessions of so long; a new set costs each visitor one full handshake. */
export const ticketLifeMs = 12 * 3_600_000;
export const ticketPlace = "tls-tickets";

/** base64 of the 48 bytes; undefined: this node cannot open them (then its workers have keys of their own, and full handshakes). */
export function openTickets(record: TicketRecord | undefined, sealer: Sealer | undefined): string | undefined {
  if (record === undefined || sealer === undefined) return undefined;
  try {
    const key = sealer.open(ticketPlace, record.key);
    return Buffer.from(key, "base64").length === ticketBytes ? key : undefined;
  } catch {
    return undefined;
  }
}

/** Pure: is a new set due? Also when it cannot be opened, or was made in what is the future here: a clock was wrong. */
export const ticketsDue = (record: TicketRecord | undefined, opens: boolean, atMs: number): boolean => record === undefined || !opens || Math.abs(atMs - record.madeAtMs) >= ticketLifeMs;

/** The leader's part: one set for all workers of all nodes, new after `ticketLifeMs`. */
export class TicketKeys {
  public constructor(private readonly options: { context: Pick<NodeContext, "store" | "view" | "clock" | "log" | "sealer">; leader: Pick<Leader, "guard"> }) {}

  public async step(): Promise<void> {
    const { store, view, clock, log, sealer } = this.options.context;
    const guard = this.options.leader.guard();
    if (guard === undefined || sealer === undefined) return;
    const state = view.current();
    if (precedes(state, guard)) return;
    const found = state.tickets;
    const atMs = clock.wallMs();
    if (!ticketsDue(found?.value, openTickets(found?.value, sealer) !== undefined, atMs)) return;
    const record: TicketRecord = { version: recordVersion, key: sealer.seal(ticketPlace, randomBytes(ticketBytes).toString("base64")), madeAtMs: atMs };
    const { succeeded } = await store.txn([guard, { key: keys.tickets, modRevision: found?.revision ?? "0" }], [{ put: keys.tickets, value: JSON.stringify(record) }]);
    if (succeeded) log.info({}, "new keys of TLS session tickets");
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options.context;
    while (!signal.aborted) {
      await this.step().catch((error: unknown) => log.warn({ reason: messageOf(error) }, "keys of session tickets: round failed"));
      await sleepUntilTick(clock, 5_000, signal);
    }
  }
}
