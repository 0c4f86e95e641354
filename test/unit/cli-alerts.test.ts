import type { AlertsReport } from "../../daemon/alerts/alerts.js";
import { alertDefaults } from "../../daemon/lib/alerts-spec.js";
import type { AlertRecord } from "../../daemon/lib/records.js";
import { alertsText } from "../../cli/commands/alerts.js";

const at = Date.UTC(2030, 0, 1);
const alert = (title: string, more: Partial<AlertRecord> = {}): AlertRecord => ({ version: 1, id: title, kind: "pool", group: "g", severity: "warning", sinceMs: at, firedAtMs: at, resolvedAtMs: 0, title, detail: "Since then.\nn3: pool hpool is DEGRADED", resolution: "", command: "hc ssh n3 zpool status -v", covers: [], all: false, flaps: 0, told: {}, ...more });
const report = (more: Partial<AlertsReport>): AlertsReport => ({ leader: "n1", alerts: [], receivers: [], heartbeats: [], thresholds: alertDefaults, problems: {}, ...more });

test("nothing is open and nobody is told: both are said", () => {
  expect(alertsText(report({}), 10)).toBe("No alert.\n\nNobody is told: the program has no `Alerts` with webhooks or mail.\n");
});
test("open ones in full with the next command, what was, who is told and who did not take it", () => {
  const text = alertsText(report({
    alerts: [alert("n3: pool hpool is DEGRADED", { severity: "critical" }), alert("n2 died", { resolvedAtMs: at + 60_000 }), alert("older", { resolvedAtMs: at + 1 })],
    receivers: [{ receiver: "ops/chat", kind: "webhook", where: "chat.example", waiting: 1, waitingSinceMs: at, lastOkMs: 0, error: "it answered with status 500", sent: 0, failures: 3 }],
    heartbeats: [{ name: "ops", where: "beat.example", everyS: 60, lastOkMs: at, error: "", withheld: "an alert could not be told for five minutes", sent: 1, failures: 0 }],
    problems: { night: "cannot be opened" },
  }), 1);
  expect(text).toBe(`!! n3: pool hpool is DEGRADED
     Since then.
     n3: pool hpool is DEGRADED
     Next: hc ssh n3 zpool status -v

FROM (UTC)           UNTIL                WAS
2030-01-01 00:00:00  2030-01-01 00:01:00  n2 died

TOLD           WHERE         WAITING  LAST (UTC, BY N1)    ERROR
ops/chat       chat.example  1        never                it answered with status 500
ops/heartbeat  beat.example  -        2030-01-01 00:00:00  withheld: an alert could not be told for five minutes
alerts night: cannot be opened
`);
});
