import { createHash } from "node:crypto";
import { get, request } from "node:http";
import { runOk } from "../../daemon/lib/command.js";
import { type DesiredDocument, siteDefaults } from "../../daemon/lib/documents.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import type { Status } from "../../daemon/lib/status.js";
import { api, eventually, makeCluster, prepareNode, ready } from "./hcd-lab.js";
import { ledgerContent } from "./ledger.js";
import { makeTestLab, type TestLab, type TestNode } from "./lab.js";

export interface SitesLabOptions { nodes?: number; diskBytes?: string; /** Of the control processes, e.g. "debug". */ logLevel?: string }

/** A lab whose nodes run the daemon, for benchmarks with many sites: documents go straight to the API, which is much quicker than an `up` of each. */
export class SitesLab {
  private constructor(public readonly lab: TestLab) {}

  public static async make({ nodes = 3, diskBytes = String(4n << 30n), logLevel = "debug" }: SitesLabOptions = {}): Promise<SitesLab> {
    const lab = await makeTestLab(nodes, { disks: [diskBytes] });
    try {
      await Promise.all(lab.nodes.map((node) => node.sh(`mkdir -p /etc/systemd/system/hcd.service.d; printf '[Service]\\nEnvironment=HC_LOG_LEVEL=${logLevel}\\n' > /etc/systemd/system/hcd.service.d/log.conf
        mkdir -p /etc/systemd/journald.conf.d; printf '[Journal]\\nRateLimitIntervalSec=0\\n' > /etc/systemd/journald.conf.d/all.conf; systemctl restart systemd-journald`)));
      const hosts = await Promise.all(lab.nodes.map((node, at) => prepareNode(node, "abcde"[at] as string)));
      const cluster = await makeCluster(lab, hosts);
      for (const node of lab.nodes) await eventually("API answers", 30_000, () => api(node, "GET", "/v1/version"), ({ status }) => status === 200);
      await Promise.all(lab.nodes.map(async (node) => void (await api(node, "PUT", "/v1/identity", await cluster.identity(node.name)))));
      for (const node of lab.nodes) await ready(node, 90_000);
      const made = new SitesLab(lab);
      const put = (kind: string, name: string, spec: unknown): Promise<unknown> => made.call("PUT", `/v1/documents/${kind}/${name}`, { version: 1, kind, name, origin: "git", spec });
      await put("cluster", "eu", { redundancy: 2, nodes: lab.nodes.map(({ name }) => name), settings: { txgTimeoutS: 1, rpoS: 10, trashDays: 7, etcd: { heartbeatMs: 250, electionMs: 2500 } } });
      await put("customer", "acme", { displayName: "Acme", contact: "" });
      await put("template", "php", { recipe: "php", version: "1", settings: {} });
      await eventually("template ready", 60_000, () => api(made.any(), "GET", "/v1/templates/php/1"), ({ body }) => (body as { state?: string }).state === "ready");
      return made;
    } catch (error) {
      await lab.destroy();
      throw error;
    }
  }

  public any(): TestNode {
    const found = this.lab.nodes.find((node) => node.alive());
    if (found === undefined) throw new Error("no node of the lab is alive");
    return found;
  }
  /** One API call at any living node (or `on`). Throws on 4xx and 5xx. */
  public async call<T>(method: string, path: string, body?: unknown, on = this.any()): Promise<T> {
    let answer = await api(on, method, path, body);
    // a machine that is busy with other things may keep etcd waiting for a moment
    for (let attempt = 0; answer.status === 503 && attempt < 10; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      answer = await api(on, method, path, body);
    }
    if (answer.status < 200 || answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body as T;
  }
  public status(): Promise<Status> {
    return this.call<Status>("GET", "/v1/status");
  }
  /** sha256 of the ledger's files as a blob that every node can fetch; `script`: a shell line that writes another gzipped tar. */
  public async ledgerBlob(script = `tar -C '${ledgerContent}' -cz .`): Promise<string> {
    const archive = Buffer.from(await runOk(new LocalRunner(), ["bash", "-c", `{ ${script}; } | base64 -w0`], { timeoutMs: 10_000 }), "base64");
    const sha256 = createHash("sha256").update(archive).digest("hex");
    await this.any().ok(["curl", "-sSf", "-X", "PUT", "--data-binary", "@-", "--unix-socket", "/run/hybridcluster/hcd.sock", `http://hcd/v1/blobs/${sha256}`], { input: archive });
    return sha256;
  }
  /** Declares sites with the lightest settings, two copies each. */
  public async declare(names: readonly string[], more: (name: string) => Partial<DesiredDocument<"site">["spec"]> = () => ({})): Promise<void> {
    for (const name of names)
      await this.call("PUT", `/v1/documents/site/${name}`, { version: 1, kind: "site", name, origin: "git", spec: { ...siteDefaults, customer: "acme", template: "php", hostnames: [`${name}.localhost`], quota: "256M", replicas: 2, limits: { memory: "64M", cpu: 1, tasks: 16 }, ...more(name) } });
  }
  /** Resolves when all of `names` serve and each has `copies` - 1 replicas that have confirmed a snapshot. ms that it took. */
  public async untilInStep(names: readonly string[], withinMs: number, tell: (line: string) => void = () => undefined, copies = 2): Promise<number> {
    const begun = performance.now();
    let told = begun;
    for (;;) {
      const units = await this.status().then(({ units: all }) => all, () => []);
      const wanted = new Set(names);
      const there = units.filter((unit) => wanted.has(unit.name) && unit.state === "serving" && unit.error === "" && unit.replicas.filter(({ lagSeconds, state }) => state === "replica" && lagSeconds !== null && lagSeconds <= 10).length >= copies - 1);
      if (there.length === names.length) return performance.now() - begun;
      if (performance.now() - begun > withinMs) throw new Error(`${names.length - there.length} of ${names.length} sites do not serve with their copies within ${withinMs / 1000} s: ${JSON.stringify(units.find((unit) => !there.includes(unit)))}`);
      if (performance.now() - told > 20_000) {
        told = performance.now();
        const missing = units.find((unit) => wanted.has(unit.name) && !there.includes(unit));
        tell(`  ${there.length} of ${names.length} in step after ${Math.round((told - begun) / 1000)} s${missing === undefined ? "" : `; ${missing.name} is not: ${missing.state} ${JSON.stringify(missing.replicas)} ${missing.error}`}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  }
  /** Lines of hcd's log on a node since `sinceMs` (wall clock) with this message, as objects. */
  public async logged(node: TestNode, message: string, sinceMs: number): Promise<Record<string, unknown>[]> {
    const text = await node.sh(`journalctl -u hcd -o cat --no-pager --since '@${Math.floor(sinceMs / 1000)}' | grep -F '"msg":"${message}"' || true`, { timeoutMs: 60_000, maxOutputBytes: 256 * 1024 * 1024 });
    return text.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}

/** One request through a node's public port. 0 = no answer within the deadline. */
export function ask(address: string, host: string, options: { path?: string; method?: string; timeoutMs?: number } = {}): Promise<number> {
  const { path = "/", method = "GET", timeoutMs = 35_000 } = options;
  return new Promise((resolve) => {
    const asked = (method === "GET" ? get : request)({ host: address, port: 80, method, path, headers: { host, ...(method === "GET" ? {} : { "content-length": 0 }) }, agent: false, timeout: timeoutMs }, (response) => {
      response.on("error", () => resolve(0)).on("end", () => resolve(response.statusCode ?? 0)).resume();
    });
    asked.on("timeout", () => asked.destroy()).on("error", () => resolve(0));
    if (method !== "GET") asked.end();
  });
}
/** Nearest-rank percentiles, rounded. */
export function spread(values: readonly number[]): { count: number; p50: number; p95: number; p99: number; worst: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => Math.round((sorted[Math.max(0, Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1))] ?? 0) * 10) / 10;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), worst: at(1) };
}
