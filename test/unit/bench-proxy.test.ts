import { connect, createServer, type TLSSocket } from "node:tls";
import { answerReader } from "../bench/proxy/answer-reader.js";
import { offersSession, seenHellos } from "../bench/proxy/full-handshakes.js";
import { parseAb, parseWrk } from "../bench/proxy/generators.js";
import { arrivals, within } from "../bench/proxy/hold.js";
import { cores } from "../bench/proxy/needs.js";
import { plot } from "../bench/proxy/plot.js";
import { mustBeAlike, type RateCell } from "../bench/proxy/rate.js";
import { type Result, summarizeRate, text } from "../bench/proxy/report.js";
import { type RateScenario, rateScenarios } from "../bench/proxy/scenarios.js";
import { quantile, ratios, short, spread } from "../bench/proxy/stats.js";
import { TestCa } from "../support/certificates.js";
import { listen } from "../support/proxy-pair.js";

// The arithmetic of bench:proxy: a wrong ratio would be believed.
const cell = (round: number, cpuUs: number, perSecond: number, failed = 0): RateCell => ({ round, cpuUs, perSecond, p50Ms: 1, p99Ms: 2, failed, busyPercent: 99, foreignPercent: 1 });

test("median, extremes, quantiles by nearest rank", () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, least: 1, most: 3 });
  expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, least: 1, most: 4 });
  expect(spread([]).median).toBeNaN();
  const hundred = Array.from({ length: 100 }, (_, at) => at + 1);
  expect([quantile(hundred, 0.99), quantile(hundred, 0.5), quantile([7], 0.99)]).toEqual([99, 50, 7]);
  expect([1234.5, 12.345, 0.12345, Number.NaN].map(short)).toEqual(["1235", "12.3", "0.123", "–"]);
});
test("a ratio is made within a round, so that drift of the machine cancels", () => {
  expect(ratios([10, 20, 40], [20, 40, 80])).toEqual({ median: 0.5, least: 0.5, most: 0.5 });
  expect(() => ratios([1], [])).toThrow("1 rounds of one side");
});
test("the side's CPU ÷ ours, our rate ÷ the side's, and the goal reached or missed", () => {
  const scenario = rateScenarios[0] as RateScenario;
  const result = (ours: number): Result => ({ benchmark: "proxy", what: "", machine: { cores: 2 }, versions: { node: "v24" }, rounds: 2, seconds: 5, accessLog: "none", idle: [], rates: [summarizeRate({ scenario, cells: { hybridcluster: [cell(1, ours, 100), cell(2, ours, 100)], haproxy: [cell(1, 15, 200), cell(2, 20, 200, 3)] } })] });
  const { cpuRatio, rateRatio, failed } = result(20).rates[0]?.sides.haproxy ?? {};
  expect([cpuRatio, rateRatio?.median, failed]).toEqual([{ median: 0.875, least: 0.75, most: 1 }, 0.5, 3]);
  expect(text(result(20))).toMatch(/haproxy +17.5 \(15 to 20\).* 3 .*0.875 \(0.75 to 1\).*reached \(≥ 0.8/);
  expect(text(result(40))).toMatch(/haproxy.*MISSED/);
  expect(plot(result(40)).match(/<rect x=/g)).toHaveLength(1);
});
test("a scenario that this proxy cannot do yet says so", () => {
  const tls = rateScenarios.find(({ name }) => name === "tls-keep-alive") as RateScenario;
  expect(text({ benchmark: "proxy", what: "", machine: {}, versions: {}, rounds: 1, seconds: 1, accessLog: "none", idle: [], rates: [summarizeRate({ scenario: tls, cells: { haproxy: [cell(1, 9, 9)] } })] })).toContain("cannot do this yet");
});
test("summaries of the load generators; a failed request of any kind counts", () => {
  expect(parseWrk('Running 5s\nHC {"requests":100,"us":2000000,"connect":1,"read":2,"write":3,"timeout":4,"status":5,"p50":1500,"p99":9000}\n')).toEqual({ requests: 100, seconds: 2, failed: 15, p50Ms: 1.5, p99Ms: 9 });
  expect(() => parseWrk("unable to connect")).toThrow("no summary");
  expect(parseAb("Time taken for tests:   5.001 seconds\nComplete requests:      4000\nFailed requests:        2\nNon-2xx responses:      1\n  50%      7\n  99%     11\n")).toEqual({ requests: 4000, seconds: 5.001, failed: 3, p50Ms: 7, p99Ms: 11 });
  expect(parseAb("SSL/TLS Protocol:       TLSv1.3,TLS_AES_128_GCM_SHA256,256,128\nServer Temp Key:        X25519 253 bits\nComplete requests:      1\n").tls).toBe("TLSv1.3,TLS_AES_128_GCM_SHA256,256,128 X25519 253 bits");
  expect(() => parseAb("SSL handshake failed")).toThrow("no summary");
});
test("arrivals at the backend are the ends of its log lines less their time; the other site by when it was due", () => {
  expect(arrivals("200 0.000 10.500\n200 0.250 10.300\n").map(Math.round)).toEqual([10_050, 10_500]);
  expect(within([[1, 5], [2, 7], [3, -1], [9, 100]], 1, 4)).toEqual({ requests: 3, failed: 1, p99Ms: 7, worstMs: 7 });
});
test("the proxy has the last core, everything else the others", () => {
  expect([cores("0-1"), cores("0-7")]).toEqual([{ proxy: 1, load: "0" }, { proxy: 7, load: "0-6" }]);
  expect(() => cores("0")).toThrow("two cores");
});
test("an answer is whole with its last byte, however it is cut, and the next one begins anew", () => {
  const bytes = Buffer.from("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbody");
  for (let cut = 1; cut < bytes.length; cut += 1) {
    const read = answerReader();
    for (const status of ["503", "503"]) expect([read(bytes.subarray(0, cut)), read(bytes.subarray(cut))]).toEqual([undefined, status]);
  }
  expect(() => answerReader()(Buffer.from("HTTP/1.1 200 OK\r\n\r\n"))).toThrow("without Content-Length");
});
test.each(["TLSv1.3", "TLSv1.2"] as const)("%s: a handshake that offers a session is told from a full one", async (maxVersion) => {
  const { chain, key } = await (await TestCa.create()).issue(["localhost"]);
  const server = createServer({ cert: chain, key, maxVersion }, (socket) => void socket.on("error", () => undefined).on("data", () => socket.write("answer")));
  const port = await listen(server as never, 0, "127.0.0.1");
  try {
    let session: Buffer | undefined;
    const one = (relayPort: number): Promise<boolean> => new Promise((resolve, reject) => {
      const socket: TLSSocket = connect({ port: relayPort, host: "127.0.0.1", rejectUnauthorized: false, ...(session === undefined ? {} : { session }) }, () => void socket.write("request"));
      socket.on("error", reject).on("session", (ticket: Buffer) => {
        session = ticket;
      });
      socket.once("data", () => {
        resolve(socket.isSessionReused());
        socket.destroy();
      });
    });
    expect(await seenHellos(port, one)).toEqual({ connections: 1, offering: 0 });
    let reused = false;
    const seen = await seenHellos(port, async (relayPort) => {
      reused = await one(relayPort);
    });
    expect([seen, reused]).toEqual([{ connections: 1, offering: 1 }, true]);
  } finally {
    server.close();
  }
});
test("what is no ClientHello is no handshake; a part of one says nothing yet", () => {
  expect(offersSession(Buffer.from([22, 3, 1, 0]))).toBeUndefined();
  expect(() => offersSession(Buffer.from("GET / HTTP/1.1"))).toThrow("no TLS");
});
test("sides that do not do the same over TLS are not compared", () => {
  expect(() => mustBeAlike("tls", new Map([["haproxy", "TLSv1.3"], ["nginx", "TLSv1.3"]]))).not.toThrow();
  expect(() => mustBeAlike("tls", new Map([["haproxy", "TLSv1.3"], ["nginx", "TLSv1.2"]]))).toThrow("nginx: TLSv1.2");
});
