import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { judgeWrites } from "../../cli/probe/judge-writes.js";
import { runProbe, type ProbePlan } from "../../cli/probe/run-probe.js";
import { type Outcome, Tally } from "../../cli/probe/tally.js";
import { isFlawless, probeText } from "../../cli/render/probe.js";

const outcome = (atMs: number, tookMs: number, rest: Partial<Outcome> = {}): Outcome => ({ atMs, tookMs, status: 200, error: "", node: "", epoch: 0, ...rest });

describe("the tally", () => {
  test("times by nearest rank, the longest answer and the longest time without a good one", () => {
    const tally = new Tally(1000, 0);
    for (let at = 0; at < 100; at += 1) tally.add(outcome(1000 + at * 10, at + 1));
    tally.add(outcome(2000, 3000, { status: 502 }));
    tally.add(outcome(5100, 900));
    const report = tally.report(6000);
    expect(report.ms).toEqual({ median: 51, p95: 96, p99: 100, longest: 900, longestAtMs: 5100 });
    expect([report.asked, report.well, report.failed, report.perSecond]).toEqual([102, 101, 1, 102 / 5]);
    expect(report.gap).toEqual({ ms: 3910, fromMs: 2090 });
    expect(report.failures).toEqual([{ what: "502", count: 1, firstMs: 2000, lastMs: 2000 }]);
  });
  test("without a good answer the gap is the whole run", () => {
    const tally = new Tally(0, 0);
    tally.add(outcome(10, 5, { status: 0, error: "ECONNREFUSED" }));
    expect(tally.report(700)).toMatchObject({ ms: null, gap: { ms: 700, fromMs: 0 }, status: { none: 1 }, failures: [{ what: "ECONNREFUSED", count: 1 }] });
  });
  test("a wanted status, homes in the order of their first answer, and a bound on what is told apart", () => {
    const tally = new Tally(0, 204);
    tally.add(outcome(0, 1, { status: 204, node: "n1", epoch: 3 }));
    tally.add(outcome(1, 1, { status: 204, node: "n1", epoch: 3 }));
    tally.add(outcome(2, 1, { status: 204, node: "n2", epoch: 4 }));
    for (let at = 0; at < 1000; at += 1) tally.add(outcome(3, 1, { status: 0, error: `e${at}` }));
    tally.add(outcome(4, 1));
    const { homes, failures, failed } = tally.report(10);
    expect(homes).toEqual([{ node: "n1", epoch: 3, firstMs: 1 }, { node: "n2", epoch: 4, firstMs: 3 }]);
    expect([failures.length, failed, failures.reduce((sum, { count }) => sum + count, 0)]).toEqual([21, 1001, 1001]);
  });
});

test.each<[string, string[], Partial<ReturnType<typeof judgeWrites>>]>([
  ["all well, others' records between", ["a-1", "x-9", "b-1", "a-2", "a-4"], { lost: [], doubled: [], disordered: [], thereUnasked: 0 }],
  ["one is gone", ["a-1", "b-1", "a-4"], { lost: ["a-2"], doubled: [], disordered: [] }],
  ["one is there twice", ["a-1", "b-1", "a-2", "a-4", "a-2"], { doubled: ["a-2"], disordered: [] }],
  ["one came late", ["a-2", "a-1", "b-1", "a-4"], { disordered: ["a-1"], lost: [] }],
  ["one that was given up ran later than the next", ["a-1", "a-2", "a-4", "a-3", "b-1"], { thereUnasked: 1, disordered: [], lost: [] }],
  ["one was not acknowledged, and is there", ["a-1", "a-2", "a-3", "a-4", "b-1"], { thereUnasked: 1, lost: [], disordered: [] }],
])("writes: %s", (_what, list, verdict) => {
  expect(judgeWrites([{ client: "a", sent: 4, acknowledged: [1, 2, 4] }, { client: "b", sent: 1, acknowledged: [1] }], list)).toMatchObject({ sent: 5, acknowledged: 4, ...verdict });
});

describe("a run", () => {
  let server: Server;
  let records: string[];
  let broken: (method: string, number: number) => "no" | "502" | "cut" | "lost" | "twice";
  let asked = 0;
  const plan = (rest: Partial<ProbePlan>): ProbePlan => ({ urls: [new URL(`http://site.example:${(server.address() as AddressInfo).port}/`)], to: ["127.0.0.1"], clients: 3, rate: 300, seconds: 0.5, timeoutMs: 2000, status: 0, write: false, insecure: false, ...rest });
  beforeEach(async () => {
    [records, asked, broken] = [[], 0, () => "no"];
    server = createServer((request, response) => {
      if (request.url === "/?list") return void response.end(records.map((id) => `3 n1 ${id}\n`).join(""));
      asked += 1;
      const how = broken(request.method ?? "", asked);
      if (how === "502") return void response.writeHead(502).end();
      if (how === "cut") return void response.socket?.destroy();
      const id = /add=([a-z0-9-]+)/.exec(request.url ?? "")?.[1];
      if (id !== undefined && how !== "lost") records.push(...(how === "twice" ? [id, id] : [id]));
      response.end(JSON.stringify({ node: "n1", epoch: 3, ...(id === undefined ? {} : { id }) }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => new Promise((resolve) => {
    server.closeAllConnections();
    server.close(resolve);
  }));
  const run = (rest: Partial<ProbePlan> = {}): ReturnType<typeof runProbe> => runProbe(plan(rest), new AbortController().signal, () => undefined);

  test("a site that is well, asked by its name at an address", async () => {
    const report = await run();
    expect(isFlawless(report)).toBe(true);
    expect(report.urls[0]).toMatchObject({ failed: 0, homes: [{ node: "n1", epoch: 3 }], status: { 200: report.urls[0]?.asked } });
    expect(probeText(report)).toMatch(/^http:\/\/site\.example:\d+\/ {2}\d+ asked \(.* a second\), \d+ answered well, 0 failed\n {2}answers: median \d+ ms/);
  });
  test("names below localhost are this machine's, whatever its resolver knows", async () => {
    const report = await run({ urls: [new URL(`http://wiki.localhost:${(server.address() as AddressInfo).port}/`)], to: [] });
    expect([isFlawless(report), report.urls[0]?.url]).toEqual([true, `http://wiki.localhost:${(server.address() as AddressInfo).port}/`]);
  });
  test("writes are all there, once, in order", async () => {
    const report = await run({ write: true });
    expect(isFlawless(report)).toBe(true);
    expect(probeText(report)).toContain("all there, once, in order");
    expect(report.urls[0]?.writes).toMatchObject({ acknowledged: records.length, lost: [], doubled: [], disordered: [] });
  });
  test.each<[ReturnType<typeof broken>, RegExp]>([["502", /failed: 1 × 502, at /], ["cut", /failed: 1 × ECONNRESET|failed: 1 × socket hang up/], ["lost", /WRONG: 1 acknowledged and gone: p[a-z0-9]+-0-\d-\d+/], ["twice", /WRONG: 1 there twice/]])("a site that once says %s", async (how, says) => {
    broken = (_method, number) => (number === 5 ? how : "no");
    const report = await run({ write: true });
    expect(isFlawless(report)).toBe(false);
    expect(probeText(report)).toMatch(says);
  });
  test("a signal ends it, and what was in flight counts", async () => {
    const stop = new AbortController();
    broken = (_method, number) => {
      if (number === 5) stop.abort();
      return "no";
    };
    const report = await runProbe(plan({ seconds: 0 }), stop.signal, () => undefined);
    expect(report.seconds).toBeLessThan(10);
    expect(report.urls[0]?.asked).toBe(asked);
  });
});
