import { delay } from "../../daemon/lib/abort.js";
import { parsePointInTime } from "../../daemon/lib/point-in-time.js";
import { command } from "../context.js";
import { json, table } from "../output.js";
import { unitId } from "../unit-name.js";

interface Event { id: string; atMs: number; node: string; unit: string; event: string; detail: string }
const followMs = 1_000;
/** Events of one moment may become visible in another order: so much is asked for again, and told once. */
const overlapMs = 10_000;
const cells = (event: Event): string[] => [new Date(event.atMs).toISOString(), event.node, event.unit, event.event, event.detail];

export const eventsCommand = command<{ unit: string | undefined; limit: number; since: string | undefined; follow: boolean }>({
  command: "events [unit]",
  describe: "what happened, newest last",
  builder: (yargs) => yargs
    .positional("unit", { type: "string", describe: "a site's name; none: all, the cluster's own too" })
    .option("limit", { type: "number", default: 50, alias: "n", describe: "how many, at most" })
    .option("since", { type: "string", describe: 'not older: "2h", "3d" (ago), or a time' })
    .option("follow", { type: "boolean", default: false, alias: "f", describe: "goes on with what happens, until it is ended; with --json one object a line" }),
  run: async ({ args, output, cluster }) => {
    const ask = async (limit: number, sinceMs: number | undefined): Promise<Event[]> =>
      (await cluster().call<{ events: Event[] }>("GET", `/v1/events?limit=${limit}${sinceMs === undefined ? "" : `&since=${Math.max(1, Math.floor(sinceMs))}`}${args.unit === undefined ? "" : `&unit=${unitId(args.unit)}`}`)).events;
    const sinceMs = args.since === undefined ? undefined : parsePointInTime(args.since, Date.now(), "since");
    let events = await ask(args.limit, sinceMs);
    if (!args.follow) {
      output.out(args.json ? json(events) : table(["TIME", "NODE", "UNIT", "EVENT", "DETAIL"], events.map(cells)));
      return 0;
    }
    const told = new Map<string, number>();
    let newestMs = sinceMs ?? 0;
    for (;;) {
      for (const event of events) {
        if (told.has(event.id)) continue;
        output.out(args.json ? `${JSON.stringify(event)}\n` : `${cells(event).map((cell) => cell || "-").join("  ")}\n`);
        told.set(event.id, event.atMs);
        newestMs = Math.max(newestMs, event.atMs);
      }
      for (const [id, atMs] of told) if (atMs < newestMs - overlapMs) told.delete(id);
      await delay(followMs);
      events = await ask(1000, newestMs - overlapMs);
    }
  },
});
