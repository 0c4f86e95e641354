import { describe as describeAlert } from "../../../daemon/alerts/alert-text.js";
import { findConditions } from "../../../daemon/alerts/find-conditions.js";
import { certificatesOf, needsPerson } from "../../../daemon/certificates/certificate-status.js";
import { isDue, pauseAfter, planAcme, renewAtMs } from "../../../daemon/certificates/plan-acme.js";
import { alertDefaults } from "../../../daemon/lib/alerts-spec.js";
import type { CertificateRecord } from "../../../daemon/lib/records.js";
import { letsEncrypt } from "../../../daemon/lib/tls-spec.js";
import type { ClusterState } from "../../../daemon/state/cluster-state.js";
import { certificatesText } from "../../../cli/commands/certificates.js";
import { TestCa } from "../../support/certificates.js";
import { StateBuilder } from "../placement/fixture.js";

const dayMs = 86_400_000;
const minuteMs = 60_000;
const atMs = Date.parse("2026-03-01T00:00:00Z");
const acme = { directory: letsEncrypt, email: "", termsOfServiceAgreed: true, ca: "" };
const record = (name: string, more: Partial<CertificateRecord> = {}): CertificateRecord => ({ version: 1, name, chain: "x", key: "x", directory: letsEncrypt, notBeforeMs: atMs - 10 * dayMs, notAfterMs: atMs + 80 * dayMs, ...more });
const none = (name: string, count: number, reason: string): CertificateRecord => record(name, { chain: "", notBeforeMs: 0, notAfterMs: 0, directory: "", attempt: { count, atMs: atMs - minuteMs, nextMs: atMs + 60 * minuteMs, reason } });
function picture(records: CertificateRecord[], build = new StateBuilder(), agreed = true): ClusterState {
  const state = build.document("cluster", "eu", { redundancy: 1, nodes: ["n1"], settings: {} as never, ...(agreed ? { acme } : {}) }).site("shop", { hostnames: records.map(({ name }) => name), tls: { certificate: "acme", redirect: true } }).build();
  return { ...state, certificates: new Map(records.map((value) => [value.name, { value, revision: "7" }])) };
}
const told = (state: ClusterState, at = atMs): string[] => certificatesOf(state, at).map((one) => ({ name: one.name, ...needsPerson(one, at) })).filter(({ severity }) => severity !== "").map(({ name, severity, text }) => `${severity} ${name} ${text}`);

test("what needs a person, and what does not", async () => {
  expect(told(picture([record("ok.example"), none("new.example", 1, "no address"), none("runs.example", 4, "")]))).toEqual([]);
  expect(told(picture([none("far.example", 4, "no address"), record("late.example", { notAfterMs: atMs + 10 * dayMs, notBeforeMs: atMs - 80 * dayMs }), record("over.example", { notAfterMs: atMs - dayMs, attempt: { count: 9, atMs, nextMs: atMs + dayMs, reason: "the CA could not be asked" } })]))).toEqual([
    "warning far.example is not there: no address (next try 2026-03-01 01:00 UTC)", "warning late.example ends 2026-03-11 00:00 UTC", "critical over.example has expired: the CA could not be asked (next try 2026-03-02 00:00 UTC)",
  ]);
  expect(told(picture([none("shop.example", 0, "")], undefined, false))).toEqual([expect.stringMatching(/^warning shop\.example is not there: the program agrees to no CA's terms/)]);
  const own = await (await TestCa.create()).issue(["own.example"], { untilH: 24 * 30 });
  const state = new StateBuilder().document("certificate", "own", { chain: own.chain, key: "sealed:1:" }).document("certificate", "idle", { chain: own.chain, key: "" }).document("certificate", "broken", { chain: "x", key: "" })
    .site("a", { tls: { certificate: "own", redirect: true } }).site("b", { tls: { certificate: "own", redirect: true } }).site("c", { tls: { certificate: "broken", redirect: true } }).build();
  const now = Date.now();
  expect(certificatesOf(state, now).map(({ name, sites, issuer, names }) => [name, sites, issuer, names])).toEqual([["broken", ["c"], "", []], ["own", ["a", "b"], "Test CA", ["own.example"]]]);
  expect(told(state, now)).toEqual(["warning broken is not there: its chain cannot be read"]);
  expect(told(state, now + 21 * dayMs)[1]).toMatch(/^warning own ends /);
  expect(told(state, now + 31 * dayMs)[1]).toMatch(/^critical own has expired: /);
});

test("one alert for all of them", () => {
  const state = picture([none("far.example", 4, "no address"), record("over.example", { notAfterMs: atMs - dayMs })]);
  const facts = { state, alive: new Set<string>(), voters: [], thresholds: alertDefaults, waits: new Map<string, string>(), atMs };
  const { found } = findConditions(facts);
  const late = findConditions({ ...facts, state: picture([record("late.example", { notBeforeMs: atMs - 80 * dayMs, notAfterMs: atMs + 10 * dayMs })]) });
  expect(describeAlert(facts, [...late.found.values()], atMs)).toMatchObject({ severity: "warning", title: "the certificate for late.example ends 2026-03-11 00:00 UTC", command: "hc certificates" });
  expect(describeAlert(facts, [...found.values()], atMs)).toMatchObject({ severity: "critical", title: "2 certificates need a person, some have expired", detail: expect.stringContaining("far.example: is not there: no address") });
  expect([...found.values()].filter(({ kind }) => kind === "certificate").map(({ key, group }) => `${key} ${group}`)).toEqual(["certificate/far.example certificate", "certificate/over.example certificate"]);
});

test("when a name is worked at", () => {
  const life = { notBeforeMs: 0, notAfterMs: 90 * dayMs };
  const left = ["a.example", "b.example", "c.example"].map((name) => (90 * dayMs - renewAtMs({ name, ...life })) / dayMs);
  expect([Math.max(...left) <= 30, Math.min(...left) >= 27, new Set(left).size]).toEqual([true, true, 3]);
  expect(renewAtMs({ name: "a.example", notBeforeMs: 0, notAfterMs: 6 * dayMs })).toBeGreaterThan(4 * dayMs - 1);
  const due = (more: Partial<CertificateRecord>, directory = letsEncrypt): boolean => isDue(record("a.example", more), directory, atMs);
  expect([isDue(undefined, letsEncrypt, atMs), due({}), due({}, "https://other.example/"), due({ order: { url: "", key: "", directory: "" } })]).toEqual([true, false, true, true]);
  const attempt = (nextMs: number) => ({ chain: "", attempt: { count: 1, atMs, nextMs, reason: "" } });
  // also a clock that was far ahead holds nobody up for longer than the longest pause
  expect([due(attempt(atMs + 1)), due(attempt(atMs)), due(attempt(atMs + 47 * 60 * minuteMs)), due(attempt(atMs + 49 * 60 * minuteMs))]).toEqual([false, true, false, true]);
  expect([1, 2, 3, 4, 5, 6, 7, 99].map((failures) => pauseAfter(failures, 0) / minuteMs)).toEqual([1, 5, 15, 60, 240, 720, 1440, 1440]);
  expect([pauseAfter(1, 0, 30 * minuteMs) / minuteMs, pauseAfter(1, 0.99) / minuteMs < 1.1, pauseAfter(1, 0, 999 * dayMs) / dayMs]).toEqual([30, true, 2]);
  const state = picture([record("z.example", { notAfterMs: atMs + dayMs }), record("y.example", { notAfterMs: atMs + 2 * dayMs }), none("x.example", 0, "")].map((one) => ({ ...one, ...(one.name === "x.example" ? { attempt: { count: 1, atMs, nextMs: atMs, reason: "" } } : {}) })));
  expect(planAcme(state, atMs)).toEqual({ start: ["x.example", "z.example", "y.example"], forget: [] });
});

test("hc certificates", () => {
  const text = certificatesText(certificatesOf(picture([record("ok.example"), none("far.example", 2, "no address")]), atMs));
  expect(text).toMatch(/far\.example +acme +- +- +shop +2026-03-01 01:00 +2\n/);
  expect(text).toMatch(/ok\.example +acme +acme-v02\.api\.letsencrypt\.org +2026-05-20 00:00 +shop +2026-04-2\d \d\d:\d\d +-\n/);
  expect(text).toMatch(/\nfar\.example at 2026-02-28 23:59: no address\n$/);
  expect(certificatesText([])).toMatch(/^No site has HTTPS/);
});
