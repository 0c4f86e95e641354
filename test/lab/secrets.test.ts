import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { dokuwikiHash } from "../../stacks/demo-password.js";
import { freePort, plainEnv, type Ran, runProgram } from "../support/hc-process.js";

// Must hold 9: no secret in clear text in state, logs and process lists. The demo's own program, killed in the middle of its first `up`, then finished.
jest.setTimeout(180_000);
const checkout = process.cwd();
let folder: string;
let workspace: string;
let env: NodeJS.ProcessEnv;
let killed: Ran;
let finished: Ran;
/** Command lines of all processes of this machine, its nodes' included, while hc ran. */
const commandLines = new Set<string>();

const hc = (args: string[], seen?: (text: string, kill: () => void) => void): Promise<Ran> =>
  runProgram([process.execPath, join(checkout, "dist", "cli", "main.js"), "--cwd", join(folder, "project"), ...args], { cwd: folder, env, timeoutMs: 150_000, ...(seen === undefined ? {} : { seen }) });

function lookAtProcesses(): void {
  for (const pid of readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name))) {
    try {
      commandLines.add(readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " "));
    } catch {
      // ended in between
    }
  }
}
function filesBelow(root: string, skip: (path: string) => boolean): string[] {
  return readdirSync(root, { withFileTypes: true }).flatMap((entry) => {
    const path = join(root, entry.name);
    if (skip(path)) return [];
    return entry.isDirectory() ? filesBelow(path, skip) : entry.isFile() ? [path] : [];
  });
}
const bodyOf = (pem: string): string[] => pem.split("\n").filter((line) => line.length >= 40 && !line.startsWith("-----"));
const holds = (text: string, needles: readonly string[]): string[] => needles.filter((needle) => text.includes(needle));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hc-secrets-"));
  mkdirSync(join(folder, "project"));
  env = plainEnv(join(folder, "home"));
  writeFileSync(join(folder, "project", "Pulumi.yaml"), `name: hybridcluster\nruntime: { name: nodejs, options: { typescript: false } }\nmain: ${join(checkout, "dist", "stacks", "local.js")}\n`);
  const up = ["up", "--yes", "-c", `entryPort=${await freePort()}`, "-c", `lab=secrets-${process.pid}`, "-c", "nodes=1"];
  const watch = setInterval(lookAtProcesses, 10);
  try {
    killed = await hc(up, (text, kill) => {
      if (text.includes("hand over identities")) kill();
    });
    workspace = join(folder, "home", readdirSync(join(folder, "home"))[0] ?? "");
    finished = await hc(up);
  } finally {
    clearInterval(watch);
  }
});
afterAll(async () => {
  const gone = await hc(["destroy", "--yes", "--remove-stack"]);
  rmSync(folder, { recursive: true, force: true });
  expect(gone.code).toBe(0);
});

const node = (): string => join(workspace, "labs", `secrets-${process.pid}`, "nodes", "n1", "upper");
const read = (path: string): string => readFileSync(path, "utf8").trim();
/** What must not be seen, by name. */
function needles(): string[] {
  const password = read(join(workspace, "wiki-password"));
  const keys = [join(workspace, "ssh", "id_ed25519"), ...["node.key", "proxy.key"].map((name) => join(node(), "etc", "hybridcluster", "pki", name))].flatMap((path) => bodyOf(read(path)));
  const all = [read(join(workspace, "passphrase")), password, dokuwikiHash(password), dokuwikiHash(password).split("$")[3] ?? "", read(join(node(), "etc", "hybridcluster", "fpm-socket.key")), read(join(node(), "etc", "hybridcluster", "pki", "seal.key")), "PRIVATE KEY-----", ...keys];
  for (const needle of all) expect(needle.length).toBeGreaterThan(8);
  return all;
}

test("the first up was killed and the second converged", async () => {
  if (finished.code !== 0) {
    // what it waits for is known only there
    const said = await hc(["ssh", "n1", "--", "sh", "-c", "journalctl -u hcd -u hcd-etcd -n 120 -o cat --no-pager | cut -c1-400"]);
    throw new Error(`${finished.stdout.slice(-4000)}\n${finished.stderr.slice(-4000)}\n${said.stdout}${said.stderr}`);
  }
  expect([killed.code, finished.code]).toEqual([null, 0]);
  expect(finished.stdout).toContain("password is in");
});

test("what hc says, and every command line of operator and node", () => {
  const secrets = needles();
  for (const { stdout, stderr } of [killed, finished]) expect(holds(stdout + stderr, secrets)).toEqual([]);
  expect(commandLines.size).toBeGreaterThan(20);
  expect([...commandLines].some((line) => line.includes("hcd.cjs control"))).toBe(true);
  expect([...commandLines].filter((line) => holds(line, secrets).length > 0)).toEqual([]);
});

test("state, backups and journals of the engine are sealed; what must hold a secret is its owner's alone", () => {
  const secrets = needles();
  const labs = join(workspace, "labs");
  const holders = filesBelow(workspace, (path) => path === labs).filter((path) => holds(readFileSync(path, "latin1"), secrets).length > 0);
  expect(holders.map((path) => relative(workspace, path)).sort()).toEqual(["passphrase", "ssh/id_ed25519", "wiki-password"]);
  for (const path of holders) expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
  expect(statSync(workspace).mode & 0o077).toBe(0);
  expect(read(join(workspace, "state", ".pulumi", "stacks", "hybridcluster", "local.json"))).toContain('"ciphertext"');
  expect(filesBelow(join(folder, "project"), () => false).filter((path) => holds(readFileSync(path, "latin1"), secrets).length > 0)).toEqual([]);
});

test("logs of the node: its journal and the services' files", async () => {
  const secrets = needles();
  const journal = await hc(["ssh", "n1", "--", "journalctl", "--no-pager", "-o", "verbose"]);
  expect(journal.stdout).toContain("hcd");
  expect(holds(journal.stdout, secrets)).toEqual([]);
  const logs = filesBelow(join(node(), "var", "log"), (path) => path.endsWith("journal"));
  expect(logs.length).toBeGreaterThan(0);
  for (const path of logs) expect([path, ...holds(readFileSync(path, "latin1"), secrets)]).toEqual([path]);
  for (const what of [["status", "--json"], ["why", "wiki", "--json"], ["events", "--json"], ["logs", "wiki"], ["site", "show", "wiki", "--json"]]) {
    const said = await hc(what);
    expect([what, ...holds(said.stdout + said.stderr, secrets)]).toEqual([what]);
    expect([0, 1]).toContain(said.code);
    if (what[0] !== "logs") expect(said.stdout).toMatch(/wiki|n1/);
  }
});

test("keys on the node are root's, but for the proxy's own", async () => {
  const listed = await hc(["ssh", "n1", "--", "find", "/etc/hybridcluster", "/var/lib/hybridcluster", "/run/hybridcluster", "-name", "*.key", "-printf", "%f %u %m\\n"]);
  expect(listed.stdout.trim().split("\n").sort()).toEqual(["fpm-socket.key root 600", "node.key _hcetcd 600", "node.key root 600", "proxy.key _hcproxy 400", "seal.key root 600"]);
});
