import { servedMetrics } from "../../../daemon/proxy/control.js";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { request } from "node:http";
import { metricTable } from "../../../daemon/api/metric-table.js";
import { metricsText, type Sample } from "../../../daemon/api/metrics.js";
import { startMetricsServer } from "../../../daemon/api/metrics-server.js";
import { pictureSamples } from "../../../daemon/api/node-samples.js";
import { parseExposition } from "../../support/exposition.js";
import { StateBuilder } from "../placement/fixture.js";

const sources = (folder: string): string[] => readdirSync(folder).flatMap((name) => (statSync(join(folder, name)).isDirectory() ? sources(join(folder, name)) : name.endsWith(".ts") ? [join(folder, name)] : []));

test("every metric that the daemon tells is in the table, and the table holds nothing else", () => {
  const told = new Set(sources(join(process.cwd(), "daemon")).filter((path) => !path.endsWith("metric-table.ts")).flatMap((path) => readFileSync(path, "utf8").match(/"hc_[a-z_]+"/g) ?? []).map((name) => name.slice(1, -1).replace(/_seconds_(?:bucket|sum|count)$/, "_seconds")));
  expect([...told].sort()).toEqual(Object.keys(metricTable).sort());
});
test("names are by the book: base units, counters and only they end in _total, each with a whole sentence", () => {
  for (const [name, [type, help]] of Object.entries(metricTable)) {
    expect(name).toMatch(/^hc_[a-z]+(_[a-z]+)*$/);
    expect([name, name.endsWith("_total")]).toEqual([name, type === "counter"]);
    expect(name).not.toMatch(/_(ms|milliseconds|kb|mb|gb|percent)(_|$)/);
    expect([name, help]).toEqual([name, expect.stringMatching(/^[A-Z0-9].*\.$/)]);
  }
});
test("what the issue asks for is there: lag, sends, snapshots, holds, leases, elections, failovers, fencing, queue depths, alerts", () => {
  const names = Object.keys(metricTable);
  for (const name of ["hc_replication_lag_seconds", "hc_replication_streams_total", "hc_replication_snapshots_total", "hc_proxy_held", "hc_session_live", "hc_leader_elections_total", "hc_failover_promotions_total", "hc_fences_total", "hc_replication_sends_waiting", "hc_events_waiting", "hc_failover_waiting", "hc_alerts_waiting", "hc_alerts_firing"]) expect(names).toContain(name);
});

describe("the text", () => {
  test("is read back as it was, whatever stands in a label", () => {
    const odd = 'a "quoted" \\ back\\slash\nand {a="b"},c';
    const samples: Sample[] = [{ name: "hc_leader", labels: {}, value: 1 }, { name: "hc_replication_failures_total", labels: { peer: odd, code: "X" }, value: 3 }, { name: "hc_pool_free_bytes", labels: { pool: "p" }, value: 1.5e21 }, { name: "hc_replication_failures_total", labels: { peer: "n2", code: "X" }, value: 4 }];
    const read = parseExposition(metricsText(samples));
    expect(read.map(({ name, labels, value }) => ({ name, labels, value }))).toEqual([samples[0], samples[2], { ...samples[1], labels: { code: "X", peer: odd } }, samples[3]].map((sample) => ({ ...sample! })));
    expect(read.find(({ name }) => name === "hc_replication_failures_total")).toMatchObject({ type: "counter", help: "Sends that failed, by peer and error code." });
  });
  test("names no series twice: two workers' counts are added up; what is no number is 0", () => {
    const read = parseExposition(metricsText([{ name: "hc_proxy_connections", labels: {}, value: 2 }, { name: "hc_proxy_connections", labels: {}, value: 3 }, { name: "hc_leader", labels: {}, value: Number.NaN }]));
    expect(read.map(({ name, value }) => [name, value])).toEqual([["hc_leader", 0], ["hc_proxy_connections", 5]]);
  });
  test("the parser of these tests refuses what Prometheus would", () => {
    for (const bad of ["a 1", "# TYPE a counter\n# HELP a x\na 1\na 2\n", "# TYPE a gauge\na 1\n", '# HELP a x\n# TYPE a gauge\na{b="c} 1\n', "# HELP a x\n# TYPE a gauge\n# HELP b x\n# TYPE b gauge\na 1\nb 1\na{c=\"d\"} 1\n"]) expect(() => parseExposition(bad)).toThrow();
  });
  test("of a picture: pool, nodes, units at home here", () => {
    const state = new StateBuilder().node("n1").node("n2").cluster(["n1", "n2"]).site("a").unit("a", "n1", ["n2"]).confirmed("n1", "a", ["n2"]).site("b").unit("b", "n1", ["n2"]).observed("n1", "b", { state: "failed" }).unit("c", "n2", []).build();
    const read = parseExposition(metricsText(pictureSamples("n1", state, new Set(["n1"]))));
    expect(read.map(({ name, labels, value }) => `${name}${Object.values(labels).map((text) => ` ${text}`).join("")} ${value}`)).toEqual([
      "hc_node_up n1 1", "hc_node_up n2 0", "hc_pool_free_bytes hpool 900000", "hc_pool_online hpool 1", "hc_pool_size_bytes hpool 1000000", "hc_unit_copies site-a 1", "hc_unit_copies site-b 1", "hc_units serving 1", "hc_units failed 1",
    ]);
  });
});

describe("the port", () => {
  const ask = (port: number, method: string, path: string): Promise<{ status: number; type: string; body: string }> => new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, method, path }, (response) => {
      let body = "";
      response.on("data", (part) => (body += String(part))).on("end", () => resolve({ status: response.statusCode ?? 0, type: String(response.headers["content-type"]), body }));
    }).on("error", reject).end();
  });
  test("gives the text and nothing else; who asks in a loop is given the same again", async () => {
    let asked = 0;
    let nowMs = 0;
    const server = await startMetricsServer({ port: 0, host: "127.0.0.1", nowMs: () => nowMs, text: () => {
      asked += 1;
      return metricsText([{ name: "hc_leader", labels: {}, value: asked }]);
    } });
    try {
      const { status, type, body } = await ask(server.port, "GET", "/metrics");
      expect([status, type, parseExposition(body)[0]?.value]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8", 1]);
      nowMs = 900;
      expect((await ask(server.port, "GET", "/metrics?a=b")).body).toBe(body);
      nowMs = 1_100;
      expect(parseExposition((await ask(server.port, "GET", "/metrics")).body)[0]?.value).toBe(2);
      for (const [method, path] of [["GET", "/"], ["POST", "/metrics"], ["GET", "/v1/status"]] as const) expect((await ask(server.port, method, path)).status).toBe(404);
    } finally {
      await server.stop();
    }
  });
});

test("the times of answers are a histogram: classes add up, over workers too", () => {
  const served = { classes: [3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1], seconds: 12.5, bytes: 4096 };
  const read = parseExposition(metricsText([...servedMetrics("site-a", served), ...servedMetrics("site-a", served)]));
  const buckets = Object.fromEntries(read.filter(({ name }) => name === "hc_proxy_served_seconds_bucket").map(({ labels, value }) => [labels["le"], value]));
  expect(buckets).toMatchObject({ "0.005": 6, "0.01": 6, "0.025": 10, "10": 10, "+Inf": 12 });
  const value = (name: string): number | undefined => read.find((series) => series.name === name)?.value;
  expect(["hc_proxy_served_seconds_count", "hc_proxy_served_seconds_sum", "hc_proxy_sent_bytes_total"].map(value)).toEqual([12, 25, 8192]);
  expect(new Set(read.filter(({ name }) => name.startsWith("hc_proxy_served")).map(({ type }) => type))).toEqual(new Set(["histogram"]));
});
