import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { spawn } from "node:child_process";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { parseSize } from "../../daemon/lib/sizes.js";
import { clearStale } from "./clear.js";
import { findLab, type Lab, openLab } from "./lab.js";
import { withLock } from "./lock.js";
import { preflight } from "./preflight.js";
import { lockMs, registryLock } from "./register.js";
import { readEntries } from "./registry.js";
import { ensureRoot } from "./root.js";

const usage = `usage: node dist/providers/lab/cli.js COMMAND --lab NAME [--dir FOLDER] [--nodes N] [--disk SIZE] [--node NAME] [-- ARGV]
  up        make and start nodes n1 to n<N> (default 3), print how each is reached
  status    nodes and whether they run          down      end and remove the lab
  start | stop | kill | cut | heal | destroy    act on --node NAME
  cut-link --from NAME[,NAME] --node NAME       one direction: NAME hears nothing more of the others
  exec -- ARGV    run in a node (namespaces)    ssh -- ARGV   run in a node (OpenSSH client)
  clean     clear what crashed runs left        list      all labs of this machine`;

/** For developers and tests; people use \`hc lab\`. */
async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { lab: { type: "string" }, dir: { type: "string" }, nodes: { type: "string", default: "3" }, node: { type: "string" }, from: { type: "string" }, disk: { type: "string", default: "2G" }, ephemeral: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
  });
  const [command, ...argv] = positionals;
  const runner = new LocalRunner();
  if (command === undefined || values.help) return print(usage, command === undefined ? 2 : 0);
  if (command === "list") return print(JSON.stringify(readEntries(), null, 2));
  if (command === "clean") return print(JSON.stringify(await withLock(registryLock, lockMs, () => clearStale(runner)), null, 2));
  if (values.lab === undefined) throw new HcError("INVALID_INPUT", "--lab NAME is missing.");
  const state = process.env["HC_HOME"] ?? join(process.env["XDG_STATE_HOME"] ?? join(homedir(), ".local/state"), "hybridcluster");
  const dir = resolve(values.dir ?? join(state, "labs", values.lab));
  if (command === "up") return print(JSON.stringify(await up(dir, values.lab, Number(values.nodes), values.disk), null, 2));
  const lab = findLab(dir);
  if (lab === undefined) throw new HcError("NOT_FOUND", `There is no lab in ${dir}.`);
  const node = (): string => {
    if (values.node === undefined) throw new HcError("INVALID_INPUT", "--node NAME is missing.");
    return values.node;
  };
  switch (command) {
    case "status": return print(JSON.stringify(await status(lab), null, 2));
    case "down": await lab.destroy(); return 0;
    case "start": await lab.start(node()); return 0;
    case "stop": await lab.stop(node()); return 0;
    case "kill": await lab.kill(node()); return 0;
    case "cut": await lab.cut(node()); return 0;
    case "heal": await lab.heal(node()); return 0;
    case "cut-link": await lab.cutLink((values.from ?? "").split(","), node()); return 0;
    case "destroy": await lab.destroyNode(node()); return 0;
    case "exec": return attach(await execArgv(lab, node(), argv));
    case "ssh": return attach(await sshArgv(lab, node(), argv));
    default: return print(usage, 2);
  }
}

async function up(dir: string, name: string, count: number, disk: string): Promise<unknown> {
  const runner = new LocalRunner();
  await preflight(runner, dir);
  const root = await ensureRoot(runner, (what, sinceMs) => process.stderr.write(`lab: ${what} (${Math.round(sinceMs / 1000)} s)\n`));
  const lab = await openLab({ dir, name });
  const names = Array.from({ length: count }, (_, number) => `n${number + 1}`);
  const disks = [{ sizeBytes: String(parseSize(disk, "disk")) }];
  for (const each of names) await lab.createNode({ name: each, disks, root });
  await Promise.all(names.map((each) => lab.start(each)));
  return Promise.all(names.map(async (each) => lab.access(await lab.node(each))));
}

async function status(lab: Lab): Promise<unknown> {
  const nodes = (await lab.nodes()).map((node) => ({ ...lab.access(node), running: lab.pid(node) !== undefined, pid: lab.pid(node) ?? null }));
  return { name: lab.place.name, dir: lab.place.dir, subnet: lab.place.subnet, nodes };
}

async function runningPid(lab: Lab, name: string): Promise<number> {
  const pid = lab.pid(await lab.node(name));
  if (pid === undefined) throw new HcError("UNREACHABLE", `Node ${name} does not run.`);
  return pid;
}
async function execArgv(lab: Lab, name: string, argv: readonly string[]): Promise<string[]> {
  return ["nsenter", "--target", String(await runningPid(lab, name)), "--all", "--wdns=/", "--", ...(argv.length === 0 ? ["bash", "-l"] : argv)];
}
/** Only to a node that runs: a packet to an address that nobody has could leave this machine. */
async function sshArgv(lab: Lab, name: string, argv: readonly string[]): Promise<string[]> {
  await runningPid(lab, name);
  const { address, user, privateKeyPath, hostKey } = lab.access(await lab.node(name));
  const known = `KnownHostsCommand=/bin/echo ${address} ${hostKey}`;
  return ["ssh", "-F", "none", "-i", privateKeyPath, "-o", "UserKnownHostsFile=/dev/null", "-o", known, "-o", "BatchMode=yes", "-o", "ConnectTimeout=3", "-o", "ServerAliveInterval=3", "-o", "LogLevel=ERROR", `${user}@${address}`, ...argv];
}

function attach(argv: readonly string[]): Promise<number> {
  return new Promise((done, fail) => {
    const child = spawn(argv[0] as string, argv.slice(1), { stdio: "inherit", env: { ...process.env, PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" } });
    child.on("error", fail);
    child.on("exit", (code) => done(code ?? 1));
  });
}
function print(text: string, code = 0): number {
  process.stdout.write(`${text}\n`);
  return code;
}

main().then((code) => { process.exitCode = code; }, (error: unknown) => {
  process.stderr.write(`lab: ${messageOf(error)}\n`);
  process.exitCode = 1;
});
