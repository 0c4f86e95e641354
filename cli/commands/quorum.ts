import { hostname, userInfo } from "node:os";
import type { Argv } from "yargs";
import { HcError } from "../../daemon/lib/errors.js";
import { formatSize } from "../../daemon/lib/sizes.js";
import type { QuorumStatus, RecoverAnswer } from "../../daemon/recovery/quorum-routes.js";
import { openCluster } from "../cluster-client.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";

/** For people. Pure. */
export function quorumText(status: QuorumStatus): string {
  const answering = status.voters.filter(({ answers }) => answers).length;
  const lines = [`etcd of ${status.cluster}: ${status.quorum ? "has its quorum" : "HAS NO QUORUM"}, ${answering} of ${status.voters.length} voters answer, ${status.needed} are needed; revision ${status.revision}, recoveries so far ${status.lineage} (told by ${status.node})\n`];
  lines.push(table(["VOTER", "ETCD", "REVISION", "SIZE", "WHY"], status.voters.map((voter) => [voter.node, voter.answers ? (voter.leader ? "leader" : voter.learner ? "learner" : "follower") : "SILENT", voter.answers ? voter.revision : "-", voter.answers ? formatSize(voter.dbSizeBytes) : "-", voter.why.slice(0, 80)])));
  for (const { node, why } of status.members.filter(({ answers }) => !answers)) lines.push(`${node} does not answer: ${why}\n`);
  const { recovery } = status;
  if (recovery?.state === "recovering") {
    lines.push(`RECOVERY since ${new Date(recovery.atMs).toISOString()}: ${recovery.reason}. No site is served until every node has told what its disk holds${recovery.excluded.length === 0 ? "" : ` (left out: ${recovery.excluded.join(", ")})`}.\n`);
    lines.push(...(status.waitsFor.length === 0 ? ["It waits for nobody: the records are being rebuilt.\n"] : status.waitsFor.map(({ node, why }) => `waits for ${node}: ${why}\n  bring it back, or go on without it: hc quorum recover --without ${node}\n`)));
  } else if (recovery !== null) lines.push(`Last recovery ${new Date(recovery.atMs).toISOString()}: ${recovery.reason}; ${recovery.detail}.\n`);
  return lines.join("");
}

const statusCommand = command<object>({
  command: "status",
  describe: "etcd's voters, who answers, and what a recovery waits for",
  run: async ({ args, output, cluster }) => {
    const status = await cluster().call<QuorumStatus>("GET", "/v1/quorum", undefined, 60_000);
    output.out(args.json ? json(status) : quorumText(status));
    return !status.quorum || status.recovery?.state === "recovering" ? 2 : status.voters.every(({ answers }) => answers) ? 0 : 1;
  },
});

interface RecoverArgs { without: string[]; on: string | undefined; gone: string[]; from: string | undefined; "from-disks": boolean; replace: boolean; yes: boolean; "dry-run": boolean }
const recoverCommand = command<RecoverArgs>({
  command: "recover",
  describe: "goes on without nodes that are gone: those a recovery waits for, or etcd's voters",
  builder: (yargs) => yargs
    .option("without", { type: "string", array: true, default: [] as string[], describe: "a node whose disk a running recovery need not hear of" })
    .option("on", { type: "string", describe: "the voter on which etcd begins anew" })
    .option("gone", { type: "string", array: true, default: [] as string[], describe: "a node that is gone for good" })
    .option("from", { type: "string", describe: "a file of `etcdctl snapshot save` on that node; default: what its own etcd knows" })
    .option("from-disks", { type: "boolean", default: false, describe: "from nothing but the disks: all data of etcd is lost" })
    .option("replace", { type: "boolean", default: false, describe: "throw away what etcd knows now, though it answers" })
    .option("yes", { type: "boolean", default: false, describe: "do it; without, the plan is shown" })
    .option("dry-run", { type: "boolean", default: false, describe: "only the plan, whatever else is said" })
    .epilog("docs/recovery.md says when which. A node that was called gone must not come back with its old etcd while the others cannot be reached: there would be two clusters.")
    .example("$0 quorum recover --on n1 --gone n2 --gone n3", "two of three voters are gone: what would be done")
    .example("$0 quorum recover --on n1 --from /root/etcd.db --replace --yes", "restores a backup; sites keep what their disks hold")
    .example("$0 quorum recover --without n3", "the recovery waits for n3, which will not come"),
  run: async ({ args, output, cluster }) => {
    const reason = `hc quorum recover by ${userInfo().username}@${hostname()}`;
    if (args.without.length > 0) {
      if (args.on !== undefined) throw new HcError("INVALID_INPUT", "--without is for a recovery that runs, --on begins one: give one of them (nodes that are --gone are not waited for).");
      const { excluded } = await cluster().call<{ excluded: string[] }>("POST", "/v1/quorum/exclude", { nodes: args.without, reason }, 60_000);
      output.out(args.json ? json({ excluded }) : `The recovery does not wait for ${excluded.join(", ")}. When it comes back, what it holds is compared with what is served then: hc adopt-pool.\n`);
      return 0;
    }
    if (args.on === undefined) throw new HcError("INVALID_INPUT", "Name the voter on which etcd shall begin anew (--on NODE), or the node that a recovery shall not wait for (--without NODE); `hc quorum status` shows both.");
    if (args["from-disks"] && args.from !== undefined) throw new HcError("INVALID_INPUT", "--from and --from-disks: give one of them.");
    const { file } = cluster();
    const connections = file.connections.filter(({ node }) => node === args.on);
    if (connections.length === 0) throw new HcError("NOT_FOUND", `There is no node ${args.on}; there are ${file.connections.map(({ node }) => node).join(", ")}.`);
    const apply = args.yes && !args["dry-run"];
    const source = args["from-disks"] ? "disks" : args.from === undefined ? "own" : "backup";
    const answer = await openCluster({ ...file, connections }).call<RecoverAnswer>("POST", "/v1/quorum/recover", { source, file: args.from ?? "", gone: args.gone, replace: args.replace, apply, reason }, apply ? 900_000 : 60_000);
    if (args.json) output.out(json(answer));
    else output.out(`${answer.done ? "Done, and under way:" : "What would be done:"}\n${answer.steps.map((step, at) => `${at + 1}. ${step}\n`).join("")}${answer.done ? "`hc quorum status` tells what it waits for.\n" : "Nothing was changed; say --yes to do it.\n"}`);
    return 0;
  },
});

export const quorumCommand = {
  command: "quorum",
  describe: "etcd's quorum: status, recover",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(statusCommand).command(recoverCommand).demandCommand(1),
  handler: () => undefined,
};
