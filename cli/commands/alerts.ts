import type { Argv } from "yargs";
import type { AlertsReport, TestResult } from "../../daemon/alerts/alerts.js";
import { command, type GlobalOptions } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { json, table } from "../output.js";

const time = (atMs: number): string => (atMs === 0 ? "never" : new Date(atMs).toISOString().slice(0, 19).replace("T", " "));

/** Open alerts in full, then what was, then who is told. Pure. */
export function alertsText(report: AlertsReport, recent: number): string {
  const open = report.alerts.filter((alert) => alert.resolvedAtMs === 0);
  const over = report.alerts.filter((alert) => alert.resolvedAtMs !== 0).slice(0, recent);
  const parts = open.map((alert) => `${alert.severity === "critical" ? "!!" : " !"} ${alert.title}\n${alert.detail.split("\n").map((line) => `     ${line}\n`).join("")}     Next: ${alert.command}\n`);
  if (open.length === 0) parts.push("No alert.\n");
  if (over.length > 0) parts.push(`\n${table(["FROM (UTC)", "UNTIL", "WAS"], over.map((alert) => [time(alert.sinceMs), time(alert.resolvedAtMs), alert.title]))}`);
  const rows = [
    ...report.receivers.map((line) => [line.receiver, line.where, String(line.waiting), time(line.lastOkMs), line.error || "-"]),
    ...report.heartbeats.map((beat) => [`${beat.name}/heartbeat`, beat.where, "-", time(beat.lastOkMs), beat.withheld === "" ? beat.error || "-" : `withheld: ${beat.withheld}`]),
  ];
  parts.push(rows.length === 0 ? "\nNobody is told: the program has no `Alerts` with webhooks or mail.\n" : `\n${table(["TOLD", "WHERE", "WAITING", `LAST (UTC, BY ${(report.leader || "nobody").toUpperCase()})`, "ERROR"], rows)}`);
  for (const [name, why] of Object.entries(report.problems)) parts.push(`alerts ${name}: ${why}\n`);
  return parts.join("");
}

const testCommand = command<object>({
  command: "test",
  describe: "sends a test to everybody who is told, now",
  run: async ({ args, output, cluster }) => {
    const { results } = await cluster().call<{ results: TestResult[] }>("POST", "/v1/alerts/test", {}, 40_000);
    output.out(args.json ? json(results) : table(["TOLD", "WHERE", "", "MS"], results.map((result) => [result.receiver, result.where, result.ok ? "taken" : `NOT_DELIVERED: ${result.error}`, String(result.ms)])));
    return results.every(({ ok }) => ok) ? exitCodes.ok : exitCodes.failed;
  },
});

export const alertsCommand = {
  ...command<{ recent: number }>({
    command: "alerts",
    describe: "what people are told, and were; who is told. `hc alerts test` tries it",
    builder: (yargs: Argv<GlobalOptions>) => yargs.command(testCommand).option("recent", { type: "number", default: 10, describe: "how many that are over" }),
    run: async ({ args, output, cluster }) => {
      const report = await cluster().call<AlertsReport>("GET", "/v1/alerts");
      output.out(args.json ? json(report) : alertsText(report, args.recent));
      return exitCodes.ok;
    },
  }),
};
