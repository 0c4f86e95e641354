import { hostname, userInfo } from "node:os";
import { until } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";
import { command } from "../context.js";
import { json } from "../output.js";

/** `GET /v1/nodes/<node>/remove`. */
interface Removal { node: string; dead: boolean; trash: string[]; done: boolean; waitsFor: string[] }

/** What is left to be done by a person, pure. */
export function afterwards({ node, dead, trash }: Removal): string {
  const lines = [
    `${node} ${dead ? "is given up" : "carries nothing and has no vote"}. Now take it out of the program: its Host, its ZfsPool (with \`protect\`, take that away first) and its place in \`pools\` of the Cluster; then \`hc up\`${dead ? "" : ", which takes its identity back"}.`,
    ...(trash.length > 0 && !dead ? [`Its trash holds ${trash.length} deleted site${trash.length === 1 ? "" : "s"} (\`hc trash list\`): purge or restore them before its pool is deleted.`] : []),
    ...(dead ? [`If it comes back after all, it owns nothing: its data lies on its pool as it was.`] : [`\`hc node remove ${node} --undo\` lets it stay after all.`]),
  ];
  return `${lines.join("\n")}\n`;
}

export const removeCommand = command<{ node: string; dead: boolean; undo: boolean; wait: boolean; timeout: number }>({
  command: "remove <node>",
  describe: "takes a node out of the cluster: empties it, gives its vote in etcd away, and says what to change in the program",
  builder: (yargs) => yargs
    .positional("node", { type: "string", demandOption: true, describe: "a node's name" })
    .option("dead", { type: "boolean", default: false, describe: "it never comes back: what it holds counts for nothing, and it is kept out" })
    .option("undo", { type: "boolean", default: false, describe: "let it stay after all" })
    .option("wait", { type: "boolean", default: true, describe: "wait until it carries nothing; --no-wait only orders it" })
    .option("timeout", { type: "number", default: 3600, describe: "seconds to wait" })
    .epilog("Refused when sites would have no place, fewer nodes would be left than copies are wanted, or etcd would have no majority. It goes on by itself when this command is ended. `hc up` does the same by itself for a node that the program names no more.")
    .example("$0 node remove n3", "an old machine")
    .example("$0 node remove n3 --dead", "one that burnt"),
  run: async ({ args, output, cluster }) => {
    if (args.dead && args.undo) throw new HcError("INVALID_INPUT", "--dead and --undo exclude each other.");
    const path = `/v1/nodes/${encodeURIComponent(args.node)}/remove`;
    if (args.undo) {
      await cluster().call<object>("DELETE", path, undefined, 30_000);
      output.out(args.json ? json({ node: args.node }) : `${args.node} stays.\n`);
      return 0;
    }
    let last = await cluster().call<Removal>("POST", path, { reason: `hc node remove by ${userInfo().username}@${hostname()}`, dead: args.dead }, 30_000);
    let told = "";
    if (args.wait && !last.done) last = await until(`${args.node} carries nothing`, { withinMs: args.timeout * 1000, firstMs: 200, capMs: 2_000 }, async () => {
      const now = await cluster().call<Removal>("GET", path);
      const text = now.waitsFor.join("; ");
      if (text !== told && text !== "" && !args.json) output.err(`  ${args.node} waits for ${text}\n`);
      told = text;
      // transient: asked again until the time is over, and then this is what is told
      if (!now.done) throw new HcError("NOT_READY", text);
      return now;
    });
    output.out(args.json ? json(last) : last.done ? afterwards(last) : `${args.node} is being taken out; it waits for ${last.waitsFor.join("; ")}.\n`);
    return 0;
  },
});
