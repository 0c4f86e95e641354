#!/usr/bin/env node
"use strict";
// The door of every npm script. Plain JavaScript without dependencies, for Node 20 and later: it brings what is missing
// (npm packages with a Node 24 among them, Debian packages for the lab, the build), says so, and goes on with Node 24.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const crypto = require("node:crypto");

const root = path.dirname(__dirname);
const [command = "help", ...rest] = process.argv.slice(2);
const say = (text) => process.stderr.write(`${text}\n`);
const fail = (text) => {
  say(text);
  process.exit(1);
};
const modules = path.join(root, "node_modules");
const node24 = path.join(modules, "node", "bin", "node");
const environment = () => ({ ...process.env, PATH: `${path.join(modules, "node", "bin")}:${path.join(modules, ".bin")}:${process.env.PATH}`, npm_config_update_notifier: "false", NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? path.join(modules, ".cache", "hc-compile") });

/** Runs a program in the foreground; ends this process with its exit code when it fails. */
function run(argv, options = {}) {
  const result = spawnSync(argv[0], argv.slice(1), { cwd: root, stdio: "inherit", env: { ...environment(), ...options.env } });
  if (result.error) fail(`${argv[0]}: ${result.error.message}`);
  const code = result.status ?? 1;
  if (code !== 0 && !options.returns) process.exit(code);
  return code;
}

function ensurePackages() {
  const lock = crypto.createHash("sha256").update(fs.readFileSync(path.join(root, "package-lock.json"))).digest("hex");
  const stamp = path.join(modules, ".hc-lock");
  const installed = fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === lock;
  if (!installed) {
    say("Installing npm packages (a Node 24 among them) …");
    // not `npm ci`: it wants the packages of every platform in the lock file, and not every registry has them all
    run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"]);
  }
  // npm may hold back install scripts: the package `node` then lacks its binary, and this makes it.
  if (!fs.existsSync(node24)) run([process.execPath, "installArchSpecificPackage.js"], { env: { PWD: path.join(modules, "node") } });
  if (!fs.existsSync(node24)) fail("The npm package `node` brought no Node 24 for this machine. Install Node 22 or later by hand and run again.");
  if (!installed) fs.writeFileSync(stamp, lock);
}

function newest(folder, seen = 0) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    const at = fs.statSync(name).mtimeMs;
    seen = Math.max(seen, entry.isDirectory() ? Math.max(at, newest(name, seen)) : at);
  }
  return seen;
}

function ensureBuild(force) {
  const built = path.join(root, "dist", ".built");
  if (!fs.existsSync(path.join(root, "tsconfig.json"))) return; // an installed package carries its build
  const sources = ["providers", "templates", "stacks", "daemon", "cli", "test", "bin"].map((name) => path.join(root, name)).filter((name) => fs.existsSync(name));
  const at = Math.max(...sources.map((name) => newest(name)), fs.statSync(path.join(root, "package.json")).mtimeMs, fs.statSync(path.join(root, "tsconfig.json")).mtimeMs);
  if (!force && fs.existsSync(built) && fs.statSync(built).mtimeMs > at) return;
  say("Building …");
  run([node24, path.join(__dirname, "build.js")]);
}

/** Asks a built module something; prints its one clear message and ends when it refuses. */
function ask(file, expression) {
  const script = `const lab = require("./dist/${file}"); const { LocalRunner } = require("./dist/daemon/lib/local-runner.js");
    Promise.resolve(${expression}).then((seen) => console.log(JSON.stringify(seen ?? null)), (error) => { console.error(error.message); process.exitCode = 1; });`;
  const answer = spawnSync(node24, ["-e", script], { cwd: root, env: environment(), encoding: "utf8" });
  if (answer.status !== 0) fail(answer.stderr.trim());
  return JSON.parse(answer.stdout);
}

const askLab = (expression) => ask("providers/lab/preflight.js", expression);

/** While `act` runs, no package starts a service: invoke-rc.d(8) and deb-systemd-invoke(1p) ask this file, and 101 forbids it. */
function withoutStarts(services, act) {
  const [policy, text] = ["/usr/sbin/policy-rc.d", "#!/bin/sh\n# of bin/enter.js of hybridcluster, for the time of an installation: to be removed\nexit 101\n"];
  const kept = fs.existsSync(policy) && fs.readFileSync(policy, "utf8") !== text; // the machine's own
  if (services.length === 0 || kept) return act();
  const wait = () => undefined; // Ctrl-C ends apt-get, and this process when the file is gone
  process.on("SIGINT", wait).on("SIGTERM", wait);
  fs.writeFileSync(policy, text, { mode: 0o755 });
  try {
    return act();
  } finally {
    fs.unlinkSync(policy);
    process.off("SIGINT", wait).off("SIGTERM", wait);
  }
}

/** Debian packages that are missing are named first and installed then. A `service` that one brings is not started (it would take ports 80 and 443), now or with the machine. */
function installPackages(what, packages) {
  if (packages.length === 0) return;
  say(`${what} needs Debian packages that are not installed:`);
  for (const item of packages) say(`  ${item.package.padEnd(16)} ${item.why}`);
  const names = packages.map((item) => item.package);
  const services = packages.flatMap((item) => item.service ?? []);
  const apt = (argv) => run(argv, { env: { DEBIAN_FRONTEND: "noninteractive" }, returns: true });
  const install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...names];
  say(`Installing them: ${install.join(" ")}`);
  const done = withoutStarts(services, () => apt(["apt-get", "update", "-qq"]) === 0 && apt(install) === 0);
  if (!done) fail(`They could not be installed. Try by hand: apt-get update && apt-get install ${names.join(" ")}`);
  if (services.length > 0 && spawnSync("systemctl", ["disable", "--quiet", ...services], { stdio: "ignore" }).status !== 0) say(`Look whether ${services.join(", ")} start with this machine: systemctl disable did not work.`);
}

/** What the lab needs of this machine: missing packages are installed, the rest is tried out. */
function ensureLab() {
  const tryOut = () => askLab(`lab.preflight(new LocalRunner(), require("node:path").join(require("node:os").homedir(), ".local", "state", "hybridcluster"))`);
  if (process.platform !== "linux" || process.getuid() !== 0) return void tryOut(); // says what can be done
  installPackages("The lab (real nodes on this machine)", askLab("lab.debianPackages()"));
  tryOut();
}

function ensureOpenZfs() {
  ask("test/support/openzfs/needs.js", "lab.assertMachine()");
  installPackages("The virtual machine with OpenZFS", ask("test/support/openzfs/needs.js", "lab.openZfsPackages()"));
  run([node24, path.join(root, "dist", "test", "support", "openzfs", "build-image.js")]);
}

const ensureApache = () => {
  if (process.platform === "linux" && process.getuid() === 0) installPackages("The proxy's test against Apache", ask("test/support/apache-needs.js", "lab.apachePackages()"));
};
/** Programs that the proxy is compared with, and what makes the load. */
function ensurePeers() {
  installPackages("The proxy's benchmark", ask("test/bench/proxy/needs.js", "lab.benchPackages()"));
}

const hc = (args) => process.exit(run([node24, path.join(root, "dist", "cli", "main.js"), ...args], { returns: true }));
const node = (args) => process.exit(run([node24, ...args], { returns: true }));
const needs = (...steps) => {
  for (const step of steps) step();
};

switch (command) {
  case "build":
    needs(ensurePackages, () => ensureBuild(true));
    break;
  case "typecheck":
    needs(ensurePackages);
    node([path.join(modules, "typescript", "bin", "tsc"), "-p", ".", "--noEmit", "--incremental", "false"]);
    break;
  case "lint":
    needs(ensurePackages);
    node([path.join(__dirname, "lint.js"), ...rest]);
    break;
  case "test":
  case "test:unit":
  case "test:lab":
  case "test:openzfs":
  case "soak":
  case "bench":
    needs(ensurePackages, ensureBuild);
    if (command === "bench" && (rest.length === 0 || rest[0].startsWith("-") || rest.includes("proxy"))) ensurePeers();
    if (command === "test:openzfs") ensureOpenZfs();
    else if (command !== "test:unit") ensureLab();
    if (command === "test" || command === "test:lab") ensureApache();
    node([path.join(__dirname, "test.js"), command, ...rest]);
    break;
  case "bench:proxy":
    needs(ensurePackages, ensureBuild, ensurePeers);
    node([path.join(root, "dist", "test", "bench", "proxy.js"), ...rest]);
    break;
  case "bench:failover":
    needs(ensurePackages, ensureBuild, ensureLab);
    node([path.join(root, "dist", "test", "bench", "failover.js"), ...rest]);
    break;
  case "chaos":
    needs(ensurePackages, ensureBuild, ensureLab);
    node([path.join(root, "dist", "test", "chaos", "main.js"), ...rest]);
    break;
  case "model":
    needs(ensurePackages, ensureBuild);
    node(["--max-old-space-size=6000", path.join(root, "dist", "test", "model", "main.js"), ...rest]);
    break;
  case "fuzz":
    needs(ensurePackages, ensureBuild);
    node([path.join(root, "dist", "test", "fuzz", "main.js"), ...rest]);
    break;
  case "start":
    needs(ensurePackages, ensureBuild, ensureLab);
    hc(["start", ...rest]);
    break;
  case "stop":
    needs(ensurePackages, ensureBuild);
    hc(["stop", ...rest]);
    break;
  case "destroy":
    needs(ensurePackages, ensureBuild);
    hc(["destroy", "--stack", "local", "--yes", "--remove-stack", ...rest]);
    break;
  default:
    fail("usage: node bin/enter.js build|lint|typecheck|test|test:unit|test:lab|test:openzfs|bench|soak|chaos|model|fuzz|start|stop|destroy");
}
