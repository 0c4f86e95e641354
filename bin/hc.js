#!/usr/bin/env node
"use strict";
// `hc`: runs the command line with Node 22 or later; where the machine's is older, with the one of the npm package `node`.
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const main = path.join(path.dirname(__dirname), "dist", "cli", "main.js");
if (!fs.existsSync(main)) {
  process.stderr.write("hc is not built yet; run `npm run build` in its checkout.\n");
  process.exit(1);
}
// what Node has compiled once is kept for the next start, of this process and of the program's and the providers' (nodejs.org/api/module.html, "Module compile cache")
if (!process.env.NODE_COMPILE_CACHE)
  try {
    const state = process.env.HC_HOME || path.join(process.env.XDG_STATE_HOME || path.join(os.homedir(), ".local", "state"), "hybridcluster");
    const cache = path.join(state, "compile-cache");
    fs.mkdirSync(cache, { recursive: true, mode: 0o700 }); // nobody else's: code is run from it
    process.env.NODE_COMPILE_CACHE = cache;
  } catch {
    // without a home it is compiled each time
  }
if (Number(process.versions.node.split(".")[0]) >= 22) {
  // named: its own default is a folder in /tmp that anybody can make first
  if (process.env.NODE_COMPILE_CACHE) require("node:module").enableCompileCache?.(process.env.NODE_COMPILE_CACHE);
  require(main);
} else {
  let binary;
  try {
    binary = path.join(path.dirname(require.resolve("node/package.json", { paths: [__dirname] })), "bin", "node");
  } catch {
    binary = "";
  }
  if (!fs.existsSync(binary)) {
    process.stderr.write(`hc needs Node 22 or later (this is ${process.version}), and the npm package "node" brought none: install one.\n`);
    process.exit(1);
  }
  const child = spawn(binary, [main, ...process.argv.slice(2)], { stdio: "inherit", env: { ...process.env, PATH: `${path.dirname(binary)}:${process.env.PATH}` } });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal === "SIGINT" ? 0 : signal)); // a Ctrl-C reaches the child by itself
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 130));
}
