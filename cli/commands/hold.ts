import { hostname, userInfo } from "node:os";
import { HcError } from "../../daemon/lib/errors.js";
import { command } from "../context.js";
import { json } from "../output.js";
import { unitId } from "../unit-name.js";

const factors: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };
/** "90s", "5m", "2h" → seconds; a number alone is seconds. Throws INVALID_INPUT. */
export function secondsOf(text: string): number {
  const match = /^([1-9][0-9]{0,6})([smh]?)$/.exec(text);
  if (match === null) throw new HcError("INVALID_INPUT", `--for: ${JSON.stringify(text)} is no duration; write digits and one of s m h, such as "5m".`);
  return Number(match[1]) * (factors[match[2] === "" ? "s" : (match[2] as string)] as number);
}

export const holdCommand = command<{ unit: string; for: string; reason: string }>({
  command: "hold <unit>",
  describe: "keeps a site's requests waiting for a while, for maintenance; what runs ends first",
  builder: (yargs) => yargs
    .positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" })
    .option("for", { type: "string", default: "5m", describe: "it ends by itself after so long: 30s, 5m, 2h (at most 24h)" })
    .option("reason", { type: "string", default: "", describe: "a text for those who look at it meanwhile" })
    .epilog("A request waits for at most 30 s and is answered with 503 and Retry-After then. The site's processes run on; nothing is moved, restored or stopped.")
    .example("$0 hold shop --for 20s --reason 'schema change'", "and `hc release shop` when it is done"),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    const forS = secondsOf(args.for);
    const said = await cluster().call<{ untilMs: number; inFlight?: number }>("POST", `/v1/units/${encodeURIComponent(unit)}/hold`, { forS, reason: `${args.reason === "" ? "ordered" : args.reason} (by ${userInfo().username}@${hostname()})` }, 30_000);
    output.out(args.json ? json({ unit, ...said }) : `${unit} is held until ${new Date(said.untilMs).toISOString()}; \`hc release ${args.unit}\` ends it earlier.\n${(said.inFlight ?? 0) === 0 ? "" : `${said.inFlight} requests have not ended within 5 s, and may still run.\n`}`);
    return 0;
  },
});

export const releaseCommand = command<{ unit: string }>({
  command: "release <unit>",
  describe: "ends `hc hold`: what waits is answered",
  builder: (yargs) => yargs.positional("unit", { type: "string", demandOption: true, describe: "a site's name, or a unit's id" }),
  run: async ({ args, output, cluster }) => {
    const unit = unitId(args.unit);
    await cluster().call<object>("DELETE", `/v1/units/${encodeURIComponent(unit)}/hold`, undefined, 30_000);
    output.out(args.json ? json({ unit }) : `${unit} is released.\n`);
    return 0;
  },
});
