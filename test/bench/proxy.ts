import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { TestCa } from "../support/certificates.js";
import { edgePki } from "../support/edge-pki.js";
import { holds } from "./proxy/hold.js";
import { memory } from "./proxy/memory.js";
import { cores } from "./proxy/needs.js";
import { plot } from "./proxy/plot.js";
import { Processes } from "./proxy/processes.js";
import { rate } from "./proxy/rate.js";
import { type Result, summarizeHold, summarizeMemory, summarizeRate, text } from "./proxy/report.js";
import { hold, hosts, idleScenarios, own, type ProxyName, proxyNames, rateScenarios, tlsHost } from "./proxy/scenarios.js";
import { type Place, startBackend, versions } from "./proxy/sides.js";

/**
 * `npm run bench:proxy [-- --rounds 5 --seconds 5 --only keep-alive,hold --sides hybridcluster,haproxy --held 5000 --idle 3000 --tls --json FILE]`: one proxy worker of this project against haproxy, nginx and
 * the npm package http-proxy, on this machine, in turns, each pinned to one core (see proxy/DESIGN.md). Tables on stdout; bench-results/proxy.json and proxy.svg (or FILE and its neighbour).
 */
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "5" }, only: { type: "string" }, sides: { type: "string" }, held: { type: "string", default: String(hold.requests) },
    idle: { type: "string" }, tls: { type: "boolean", default: false }, json: { type: "string", default: join("bench-results", "proxy.json") },
  },
});
const tell = (line: string): void => void process.stderr.write(`${line}\n`);
function number(name: "rounds" | "seconds" | "held" | "idle", most: number): number {
  const value = Number(values[name]);
  if (!(Number.isInteger(value) && value >= 1 && value <= most)) throw new Error(`--${name} must be a whole number from 1 to ${most}, not ${values[name]}`);
  return value;
}
function chosen<T extends string>(option: "only" | "sides", known: readonly T[]): readonly T[] {
  const words = values[option]?.split(",") ?? known;
  for (const word of words) if (!known.includes(word as T)) throw new Error(`--${option} knows ${known.join(", ")}, not ${word}`);
  return known.filter((name) => words.includes(name));
}

async function measure(place: Place): Promise<Result> {
  const [rounds, seconds] = [number("rounds", 50), number("seconds", 60)];
  const scenarios = chosen("only", [...[...rateScenarios, ...idleScenarios].filter(({ tls }) => !tls || values.tls).map(({ name }) => name), hold.name]);
  const sides: readonly ProxyName[] = chosen("sides", proxyNames);
  const result: Result = {
    benchmark: "proxy", what: "one proxy worker pinned to a core, against others in turns",
    machine: { cpu: cpus()[0]?.model ?? "?", cores: cpus().length, kernel: release(), loadBefore: loadavg()[0] }, versions: { hybridcluster: (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version, ...versions() },
    rounds, seconds, accessLog: "none on any side", rates: [], idle: [],
  };
  for (const scenario of rateScenarios) if (scenarios.includes(scenario.name)) result.rates.push(summarizeRate(await rate(place, scenario, sides, { rounds, seconds, tell })));
  const connections = values.idle === undefined ? undefined : number("idle", 9_000);
  for (const scenario of idleScenarios) if (scenarios.includes(scenario.name)) result.idle.push(summarizeMemory(await memory(place, scenario, sides, { rounds: Math.min(3, rounds), connections, tell })));
  if (scenarios.includes(hold.name) && sides.includes(own)) result.hold = summarizeHold(await holds(place, { rounds: Math.min(5, rounds), requests: number("held", 9_000), tell }));
  return result;
}

async function main(): Promise<number> {
  number("rounds", 50);
  const dir = mkdtempSync(join(tmpdir(), "hc-bench-proxy-"));
  const pki = await edgePki(["n1"]);
  const processes = new Processes(dir);
  const cleared = (): void => {
    processes.kill();
    for (const folder of [dir, pki.folder]) rmSync(folder, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => {
    cleared();
    process.exit(130);
  });
  try {
    mkdirSync(join(dir, "content"));
    writeFileSync(join(dir, "content", "1k"), Buffer.alloc(1024, "x"));
    writeFileSync(join(dir, "content", "10m"), Buffer.alloc(10 * 1024 * 1024, "x"));
    const { chain, key } = await (await TestCa.create()).issue([tlsHost, ...Object.values(hosts)]);
    const pem = (name: string, text: string): string => {
      const file = join(dir, `${name}.pem`);
      writeFileSync(file, text, { mode: 0o600 });
      return file;
    };
    const place = { dir, processes, cores: cores(), tls: values.tls, pki: pki.of("n1"), site: { cert: pem("chain", chain), key: pem("key", key), both: pem("both", chain + key) } };
    const result = await measure({ ...place, backendPort: await startBackend(place) });
    mkdirSync(dirname(values.json), { recursive: true });
    writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
    writeFileSync(values.json.replace(/(\.json)?$/, ".svg"), plot(result));
    process.stdout.write(text(result));
    return 0;
  } finally {
    cleared();
  }
}

main().then((code) => process.exit(code), (error: unknown) => {
  tell((error as Error).stack ?? String(error));
  process.exit(1);
});
