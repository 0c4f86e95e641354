import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../daemon/lib/errors.js";
import { command } from "../context.js";
import { json } from "../output.js";

/** Version of this package, and digest of the daemon that it carries. */
export function ownVersion(): { version: string; sha256: string } {
  const root = join(__dirname, "..", "..", "..");
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const manifest = join(root, "dist", "hcd", "manifest.json");
  const sha256 = existsSync(manifest) ? (JSON.parse(readFileSync(manifest, "utf8")) as { sha256: string }).sha256 : "";
  return { version, sha256 };
}

export const versionCommand = command<{ nodes: boolean }>({
  command: "version",
  describe: "this hc, the daemon it carries, and (--nodes) what runs on the nodes",
  builder: (yargs) => yargs.option("nodes", { type: "boolean", default: false }),
  run: async ({ args, output, cluster }) => {
    const own = ownVersion();
    let nodes: { name: string; version: string; sha256: string }[] = [];
    let error = "";
    if (args.nodes)
      try {
        const status = await cluster().call<{ nodes: { name: string; hcd: { version: string; sha256: string } }[] }>("GET", "/v1/status");
        nodes = status.nodes.map((node) => ({ name: node.name, ...node.hcd }));
      } catch (cause) {
        error = messageOf(cause);
      }
    if (args.json) output.out(json({ hc: own.version, hcd: own.sha256, node: process.version, nodes, ...(error === "" ? {} : { error }) }));
    else output.out(`hc ${own.version}, carries hcd ${own.sha256.slice(0, 12)}, on Node ${process.version}\n${nodes.map((node) => `${node.name}: hcd ${node.version} ${node.sha256.slice(0, 12)}${node.sha256 === own.sha256 ? "" : " (another one: the next `hc up` brings it)"}\n`).join("")}${error === "" ? "" : `nodes: ${error}\n`}`);
    return error === "" ? 0 : 1;
  },
});
