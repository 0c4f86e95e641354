"use strict";
// Style by biome, import directions by dependency-cruiser.
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const root = path.dirname(__dirname);
const bin = (name) => path.join(root, "node_modules", ".bin", name);
const steps = [
  [bin("biome"), "lint", "--error-on-warnings", "."],
  [bin("depcruise"), "--config", ".dependency-cruiser.cjs", "--output-type", "err", "providers", "templates", "stacks", "daemon", "cli"],
];
let code = 0;
for (const [file, ...args] of steps) code = spawnSync(file, args, { cwd: root, stdio: "inherit" }).status || code;
process.exit(code);
