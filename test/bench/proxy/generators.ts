import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { hosts, type RateScenario, tlsHost } from "./scenarios.js";

/** What a load generator saw. `failed`: no answer, or another status than 2xx. `tls`: version, cipher and key exchange, where it says so. */
export interface Load { tls?: string; requests: number; seconds: number; failed: number; p50Ms: number; p99Ms: number }

/** wrk's own hook (SCRIPTING in its sources): its summary as one line of JSON. */
const report = `done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nHC {"requests":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"status":%d,"p50":%d,"p99":%d}\\n',
    summary.requests, summary.duration, e.connect, e.read, e.write, e.timeout, e.status, latency:percentile(50), latency:percentile(99)))
end
`;

/** wrk's other hook: a head of its own for each request. */
const differing = `local number = 0
request = function()
  number = number + 1
  wrk.headers["X-Request-Number"] = tostring(number)
  return wrk.format()
end
`;

function output(core: string, argv: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile("setpriv", ["--pdeathsig", "KILL", "taskset", "-c", core, ...argv], { timeout: timeoutMs, killSignal: "SIGKILL" }, (error, stdout, stderr) => (error === null ? resolve(stdout) : reject(new Error(`${argv[0]}: ${error.message}\n${stderr}`))));
  });
}

/** Pure. Throws when the line is not there. */
export function parseWrk(text: string): Load {
  const line = /^HC (\{.*\})$/m.exec(text)?.[1];
  if (line === undefined) throw new Error(`wrk said no summary: ${text.slice(-500)}`);
  const seen = JSON.parse(line) as Record<"requests" | "us" | "connect" | "read" | "write" | "timeout" | "status" | "p50" | "p99", number>;
  return { requests: seen.requests, seconds: seen.us / 1e6, failed: seen.connect + seen.read + seen.write + seen.timeout + seen.status, p50Ms: seen.p50 / 1000, p99Ms: seen.p99 / 1000 };
}

/** Pure: ab(1)'s report. */
export function parseAb(text: string): Load {
  const number = (name: string): number => Number(new RegExp(`^${name}:?\\s+([\\d.]+)`, "m").exec(text)?.[1] ?? 0);
  const requests = number("Complete requests");
  const tls = ["SSL/TLS Protocol", "Server Temp Key"].flatMap((name) => new RegExp(`^${name}: +(.*)$`, "m").exec(text)?.[1] ?? []);
  if (requests === 0) throw new Error(`ab said no summary: ${text.slice(-500)}`);
  return { requests, seconds: number("Time taken for tests"), failed: number("Failed requests") + number("Non-2xx responses"), p50Ms: number(" +50%"), p99Ms: number(" +99%"), ...(tls.length === 0 ? {} : { tls: tls.join(" ") }) };
}

/** Requests without pause for `seconds`, of ab no more than `most`; bounded by a time of its own. */
export async function load(scenario: RateScenario, port: number, options: { dir: string; core: string; seconds: number; most?: number }): Promise<Load> {
  const url = `${scenario.tls ? `https://${tlsHost}` : "http://127.0.0.1"}:${port}${scenario.path}`;
  const fields = ["-H", `Host: ${hosts.load}`];
  const timeoutMs = options.seconds * 1000 + 20_000;
  // TLS 1.3 without -k: ab makes a new session for each connection
  if (scenario.generator === "ab") return parseAb(await output(options.core, ["ab", "-q", "-t", String(options.seconds), "-n", String(options.most ?? 10_000_000), "-c", String(Math.min(scenario.connections, options.most ?? scenario.connections)), "-f", "TLS1.3", ...fields, url], timeoutMs));
  const script = join(options.dir, "report.lua");
  writeFileSync(script, scenario.differing === true ? report + differing : report);
  if (scenario.close) fields.push("-H", "Connection: close");
  return parseWrk(await output(options.core, ["wrk", "-t", "1", "-c", String(scenario.connections), "-d", `${options.seconds}s`, "--timeout", "10s", "-s", script, ...fields, url], timeoutMs));
}
