import type { Argv } from "yargs";
import type { DesiredDocument } from "../../daemon/lib/documents.js";
import type { ObservedUnit, UnitRecord } from "../../daemon/lib/records.js";
import { HcError } from "../../daemon/lib/errors.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";
import { unitId } from "../unit-name.js";

interface UnitAnswer { record: UnitRecord; revision: string; observed: Record<string, ObservedUnit>; document: DesiredDocument<"site"> | null; ready: boolean; appliedRevision: string; /** Missing in answers of versions before. */ rpoS?: number }

export function unitText(unit: UnitAnswer): string {
  const { record, document } = unit;
  const lines = [
    `${record.unit}: ${record.state}, at home on ${record.home} at epoch ${record.epoch}${unit.ready ? ", ready" : ", not ready"}`,
    ...(document === null ? [] : [`  customer ${document.spec.customer}, template ${document.spec.template}, quota ${document.spec.quota}, made by ${document.origin}`, `  hostnames ${document.spec.hostnames.join(", ")}`]),
    `  cloned from ${record.origin.template}@${record.origin.version}, runs on ${record.runtime.platform} with PHP ${record.runtime.php}`,
    ...(unit.rpoS === undefined || record.replicas.length === 0 ? [] : [`  up to ${unit.rpoS} s of writes may be missing on its copies (${document?.spec.replication === undefined ? "the cluster's rpoS" : "its own rpoS"})`]),
  ];
  const rows = Object.entries(unit.observed).map(([node, seen]) => [node, node === record.home ? "home" : "replica", seen.state, seen.snapshots.at(-1)?.name ?? "-", seen.error === "" ? "-" : seen.error]);
  return `${lines.join("\n")}\n\n${table(["NODE", "ROLE", "STATE", "NEWEST SNAPSHOT", "ERROR"], rows)}`;
}

const showCommand = command<{ site: string }>({
  command: "show <site>",
  describe: "one site with its copies",
  builder: (yargs) => yargs.positional("site", { type: "string", demandOption: true }),
  run: async ({ args, output, cluster }) => {
    const unit = await cluster().call<UnitAnswer>("GET", `/v1/units/${unitId(args.site)}`);
    if (unit.record === undefined) throw new HcError("NOT_READY", `${unitId(args.site)} is declared but not placed yet; \`hc why ${args.site}\` tells what it waits for.`);
    output.out(args.json ? json(unit) : unitText(unit));
    return 0;
  },
});

export const siteCommand = { command: "site", describe: "sites: show", builder: (yargs: Argv<GlobalOptions>) => yargs.command(showCommand).demandCommand(1), handler: () => undefined };

export interface Event { atMs: number; node: string; unit: string; event: string; detail: string }
interface Why { site: string; steps: { step: string; ok: boolean; detail: string }[]; errors: { atMs: number; node: string; text: string }[]; logs: string; events: Event[] }

export function whyText(why: Why): string {
  const time = (atMs: number): string => new Date(atMs).toISOString();
  const list = (title: string, lines: string[]): string => (lines.length === 0 ? "" : `\n${title}\n${lines.map((line) => `  ${line}\n`).join("")}`);
  return why.steps.map((step) => `${step.ok ? "ok " : "!! "} ${step.step}: ${step.detail}\n`).join("")
    + list("Last errors at the proxies", why.errors.map((error) => `${time(error.atMs)} ${error.node} ${error.text}`))
    + list("Last lines of PHP and Apache", why.logs.split("\n").filter((line) => line !== "").slice(-10))
    + list("What changed", why.events.map((event) => `${time(event.atMs)} ${event.node} ${event.event} ${event.detail}`));
}

export const whyCommand = command<{ site: string }>({
  command: "why <site>",
  describe: "follows a request: name, edge, home, PHP; last errors, who changed what",
  builder: (yargs) => yargs.positional("site", { type: "string", demandOption: true, describe: "a site's name or one of its host names" }),
  run: async ({ args, output, cluster }) => {
    const why = await cluster().call<Why>("GET", `/v1/why/${encodeURIComponent(args.site)}`, undefined, 20_000);
    output.out(args.json ? json(why) : whyText(why));
    return why.steps.every((step) => step.ok) ? 0 : 1;
  },
});

export const logsCommand = command<{ unit: string; lines: number; access: boolean }>({
  command: "logs <unit>",
  describe: "the last lines of a site's PHP and web errors, or of its access log",
  builder: (yargs) => yargs.positional("unit", { type: "string", demandOption: true }).option("lines", { type: "number", default: 50, alias: "n" }).option("access", { type: "boolean", default: false, describe: "requests, as all nodes' proxies saw them" }),
  run: async ({ args, output, cluster }) => {
    if (args.access) {
      const { lines, silent } = await cluster().call<{ lines: string[]; silent: string[] }>("GET", `/v1/access-log/${unitId(args.unit)}?lines=${args.lines}`, undefined, 30_000);
      if (silent.length > 0) output.err(`not asked: ${silent.join(", ")}\n`);
      output.out(args.json ? json({ unit: unitId(args.unit), lines, silent }) : lines.map((line) => `${line}\n`).join(""));
      return 0;
    }
    const { node, lines: text } = await cluster().call<{ node: string; lines: string }>("GET", `/v1/logs/${unitId(args.unit)}?lines=${args.lines}`, undefined, 20_000);
    output.out(args.json ? json({ unit: unitId(args.unit), node, lines: text.split("\n").filter((line) => line !== "") }) : text.endsWith("\n") || text === "" ? text : `${text}\n`);
    return 0;
  },
});
