"use strict";
// Compiles (tsc) and bundles the daemon's one artefact (esbuild): dist/hcd/hcd.cjs with its templates inside, and manifest.json
// with version and digest. The same sources give the same digest on every machine.
const { spawnSync } = require("node:child_process");
const crypto = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");

const root = path.dirname(__dirname);
const dist = path.join(root, "dist");
const version = require("../package.json").version;

function templates(folder, prefix = "", found = {}) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = path.posix.join(prefix, entry.name);
    if (entry.isDirectory()) templates(path.join(folder, entry.name), name, found);
    else if (!/\.(ts|md)$/.test(entry.name)) found[name] = fs.readFileSync(path.join(folder, entry.name), "utf8");
  }
  return found;
}

async function bundle() {
  const { build } = require("esbuild");
  const folder = path.join(dist, "hcd");
  fs.mkdirSync(folder, { recursive: true });
  const out = path.join(folder, "hcd.cjs");
  await build({
    absWorkingDir: root,
    entryPoints: ["dist/daemon/main.js"],
    outfile: `${out}.new`,
    bundle: true,
    platform: "node",
    target: "node22",
    format: "cjs",
    legalComments: "none",
    // Without comments: some carry letters that make V8 keep the whole text in two bytes a letter, in each of a node's processes. Names stay as they are, for stack traces.
    minifyWhitespace: true,
    lineLimit: 200,
    logLevel: "warning",
    define: { __HC_TEMPLATES__: JSON.stringify(templates(path.join(root, "templates"))), __HC_VERSION__: JSON.stringify(version) },
  });
  const sha256 = crypto.createHash("sha256").update(fs.readFileSync(`${out}.new`)).digest("hex");
  fs.renameSync(`${out}.new`, out);
  fs.writeFileSync(path.join(folder, "manifest.json"), `${JSON.stringify({ version, sha256 })}\n`);
  return sha256;
}

async function main() {
  const tsc = spawnSync(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", "."], { cwd: root, stdio: "inherit" });
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
  const sha256 = await bundle();
  fs.writeFileSync(path.join(dist, ".built"), `${sha256}\n`);
  process.stderr.write(`Built hybridcluster ${version}, hcd ${sha256.slice(0, 12)}\n`);
}
main().catch((error) => {
  process.stderr.write(`${error.stack ?? error}\n`);
  process.exit(1);
});
