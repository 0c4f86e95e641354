import { hostname, userInfo } from "node:os";
import { until } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";
import type { Status } from "../../daemon/lib/status.js";
import { command } from "../context.js";
import { json } from "../output.js";

export const fenceCommand = command<{ node: string; yes: boolean; wait: boolean; timeout: number; reason: string }>({
  command: "fence <node>",
  describe: "takes everything away from a node that misbehaves: it owns nothing, and its sites come back elsewhere",
  builder: (yargs) => yargs
    .positional("node", { type: "string", demandOption: true, describe: "a node's name" })
    .option("reason", { type: "string", default: "", describe: "a text for those who look at it later" })
    .option("yes", { type: "boolean", default: false, describe: "also when sites there have no other living copy, and will be down" })
    .option("wait", { type: "boolean", default: true, describe: "wait until its sites are at home elsewhere; --no-wait only orders it" })
    .option("timeout", { type: "number", default: 120, describe: "seconds to wait" })
    .epilog("Its sites are stopped there and served elsewhere about ten seconds later, with what their copies hold: for a node that works, `hc node drain` is the gentle way. `hc unfence NODE` takes it back.")
    .example("$0 fence n2 --reason 'disk errors'", "now, whatever it is doing"),
  run: async ({ args, output, cluster }) => {
    const { units, down } = await cluster().call<{ units: string[]; down: string[] }>("POST", `/v1/nodes/${encodeURIComponent(args.node)}/fence`, { reason: `${args.reason === "" ? "ordered" : args.reason} (by ${userInfo().username}@${hostname()})`, force: args.yes }, 30_000);
    const waitsFor = (seen: Status): string[] => seen.units.filter(({ id, home, state }) => units.includes(id) && !down.includes(id) && (home === args.node || state !== "serving")).map(({ id }) => id);
    if (args.wait) await until(`the sites of ${args.node} are served elsewhere`, { withinMs: args.timeout * 1000, firstMs: 300, capMs: 2_000 }, async () => {
      const left = waitsFor(await cluster().call<Status>("GET", "/v1/status"));
      // transient: asked again until the time is over, and then this is what is told
      if (left.length > 0) throw new HcError("NOT_READY", `${left.slice(0, 5).join(", ")}${left.length > 5 ? ` and ${left.length - 5} more` : ""} not yet; \`hc why ${left[0]?.replace(/^site-/, "")}\` says what it waits for`);
      return true;
    });
    output.out(args.json ? json({ node: args.node, units, down }) : `${args.node} is fenced${units.length === 0 ? "" : `; ${units.length - down.length} of its ${units.length} sites ${args.wait ? "are served elsewhere" : "will be served elsewhere"}`}${down.length === 0 ? "" : `; down: ${down.join(", ")}`}.\n`);
    return 0;
  },
});

export const unfenceCommand = command<{ node: string }>({
  command: "unfence <node>",
  describe: "lets a fenced node live again",
  builder: (yargs) => yargs.positional("node", { type: "string", demandOption: true, describe: "a node's name" }),
  run: async ({ args, output, cluster }) => {
    await cluster().call<object>("DELETE", `/v1/nodes/${encodeURIComponent(args.node)}/fence`, undefined, 30_000);
    output.out(args.json ? json({ node: args.node }) : `${args.node} may live again.\n`);
    return 0;
  },
});
