import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { EtcdConnection, type EtcdEndpoint } from "../../daemon/state/etcd-connection.js";
import { ensureRoot } from "../../providers/lab/root.js";
import { type TestCa, testCa } from "./cluster-pki.js";

/** etcd of $HC_ETCD, the PATH, or the lab's cached Debian root (made when it is missing). */
export async function etcdBinary(): Promise<string> {
  const named = process.env["HC_ETCD"];
  if (named !== undefined) return named;
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "etcd")).find((file) => existsSync(file));
  return onPath ?? join(await ensureRoot(new LocalRunner()), "usr/bin/etcd");
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

export interface TestEtcd {
  endpoint: EtcdEndpoint;
  ca: TestCa;
  connect(): EtcdConnection;
  /** SIGSTOP and SIGCONT: a member that hangs. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

/** One etcd on loopback with mutual TLS, data in a new folder. */
export async function startEtcd(name = "e1"): Promise<TestEtcd> {
  const binary = await etcdBinary();
  const folder = mkdtempSync(join(tmpdir(), "hc-etcd-"));
  const ca = await testCa("test cluster CA");
  const own = await ca.issue(name);
  const client = await ca.issue("client");
  const file = (base: string, text: string): string => {
    writeFileSync(join(folder, base), text, { mode: 0o600 });
    return join(folder, base);
  };
  const [port, peer] = [await freePort(), await freePort()];
  const files = [file("node.crt", own.cert), file("node.key", own.key), file("ca.crt", ca.ca)] as const;
  const tls = (prefix: string): string[] => [`--${prefix}cert-file=${files[0]}`, `--${prefix}key-file=${files[1]}`, `--${prefix}trusted-ca-file=${files[2]}`, `--${prefix}client-cert-auth=true`];
  const child = spawn(binary, [`--name=${name}`, `--data-dir=${join(folder, "data")}`, `--listen-client-urls=https://127.0.0.1:${port}`, `--advertise-client-urls=https://127.0.0.1:${port}`, `--listen-peer-urls=https://127.0.0.1:${peer}`, `--initial-advertise-peer-urls=https://127.0.0.1:${peer}`, `--initial-cluster=${name}=https://127.0.0.1:${peer}`, "--logger=zap", "--log-outputs=stderr", ...tls(""), ...tls("peer-")], { stdio: ["ignore", "ignore", "pipe"] });
  let tail = "";
  child.stderr.on("data", (part: Buffer) => (tail = (tail + part.toString()).slice(-4000)));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const endpoint = { node: name, address: "127.0.0.1", port };
  const connect = (): EtcdConnection => new EtcdConnection({ ca: ca.ca, ...client });
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const probe = connect();
  for (;;) {
    const status = await probe.post(endpoint, "/v3/maintenance/status", {}, 1000).catch(() => undefined);
    if (status !== undefined && status["leader"] !== undefined) break;
    if (child.exitCode !== null) {
      await stop();
      throw new Error(`etcd ended at once: ${tail}`);
    }
    await delay(20);
  }
  probe.close();
  return { endpoint, ca, connect, pause: () => void child.kill("SIGSTOP"), resume: () => void child.kill("SIGCONT"), stop };
}
