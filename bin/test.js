"use strict";
// Runs the levels of tests with Jest and prints "N passed, N failed, N skipped" as the last line.
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const root = path.dirname(__dirname);
const [command, ...rest] = process.argv.slice(2);
const quick = ["unit", "golden", "contract", "provider", "simulation", "model"];
/** Lab tests that judge in seconds what dies and comes back: nothing else runs beside them. The others wait for most of their time, so two go side by side. */
const alone = "(failover|fencer|watchdog)[.]test";
const lab = (levels) => [{ levels, but: alone, workers: 2 }, { levels: ["lab"], only: alone, workers: 1 }];
/** Each group is one run of Jest. */
const groups = {
  "test:unit": [{ levels: quick, workers: 2 }],
  "test:lab": lab(["lab"]),
  test: [{ levels: quick, workers: 2 }, ...lab(["program", "lab"])],
  "test:openzfs": [{ levels: ["openzfs"], workers: 1 }],
  soak: [{ levels: ["soak"], workers: 1 }],
}[command];

if (command === "bench") {
  const folder = path.join(root, "dist", "test", "bench");
  const all = fs.readdirSync(folder).filter((name) => name.endsWith(".js")).map((name) => name.slice(0, -3));
  // words choose benchmarks by a part of their name; what begins with a dash, and all after it, is theirs
  const dash = rest.findIndex((word) => word.startsWith("-"));
  const [words, options] = dash < 0 ? [rest, []] : [rest.slice(0, dash), rest.slice(dash)];
  const names = words.length === 0 ? all : words.flatMap((word) => (all.includes(word) ? [word] : all.filter((name) => name.includes(word))));
  if (words.length > 0 && names.length === 0) {
    process.stderr.write(`no benchmark is called ${words.join(", ")}; there are: ${all.join(", ")}\n`);
    process.exit(2);
  }
  let code = 0;
  for (const name of names) code = spawnSync(process.execPath, [path.join(folder, `${name}.js`), ...options], { cwd: root, stdio: "inherit" }).status || code;
  process.exit(code);
}

const sum = { passed: 0, failed: 0, skipped: 0 };
let broken = false;
/** Said again at the end, where a reader looks first. */
const failures = [];
for (const { levels, workers, but, only } of groups) {
  // a pattern chooses among the levels of the command: test:unit never starts a lab
  const which = but !== undefined ? `(?!${but})` : only !== undefined ? `(?=${only})` : "";
  const patterns = levels.flatMap((level) => (rest.length > 0 ? rest.map((word) => `dist/test/(?=${level}/${which}).*(${word})`) : [`dist/test/(?=${level}/${which})`]));
  const file = path.join(os.tmpdir(), `hc-jest-${process.pid}-${levels[0]}.json`);
  // what quick tests leave in the temporary folder goes with it; labs clear up by themselves (there may be mounts in theirs)
  const scratch = !levels.includes("unit") ? undefined : fs.mkdtempSync(path.join(os.tmpdir(), "hc-t-"));
  const run = spawnSync(
    process.execPath,
    ["--experimental-vm-modules", path.join(root, "node_modules", "jest", "bin", "jest.js"), "-c", "jest.config.js", `--maxWorkers=${workers}`, "--json", `--outputFile=${file}`, "--passWithNoTests", "--forceExit", ...patterns],
    { cwd: root, stdio: ["ignore", "ignore", "inherit"], timeout: 80 * 60_000, env: { ...process.env, ...(scratch === undefined ? {} : { TMPDIR: scratch }), ...(command === "soak" ? { HC_SOAK: "1" } : {}), NODE_OPTIONS: "--experimental-vm-modules --no-warnings", FORCE_COLOR: "0" } },
  );
  try {
    const result = JSON.parse(fs.readFileSync(file, "utf8"));
    sum.passed += result.numPassedTests;
    sum.failed += result.numFailedTests + result.numRuntimeErrorTestSuites;
    sum.skipped += result.numPendingTests + result.numTodoTests;
    for (const { name, message, assertionResults } of result.testResults) {
      const failed = assertionResults.filter(({ status }) => status === "failed");
      for (const { fullName, failureMessages } of failed) failures.push(`${path.relative(root, name)}: ${fullName}: ${failureMessages.join("\n")}`);
      if (failed.length === 0 && assertionResults.length === 0 && message !== "") failures.push(`${path.relative(root, name)}: ${message}`);
    }
    fs.unlinkSync(file);
  } catch {
    sum.failed += 1;
  }
  broken ||= run.status !== 0;
  if (scratch !== undefined) fs.rmSync(scratch, { recursive: true, force: true });
}
if (broken && sum.failed === 0) sum.failed = 1;
for (const failure of failures) process.stdout.write(`failed: ${failure.slice(0, 600)}\n`);
process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
process.exit(sum.failed === 0 ? 0 : 1);
