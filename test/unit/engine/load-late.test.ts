import { execFileSync } from "node:child_process";
import { join } from "node:path";

// In a process of its own: Jest loads modules by itself. Its working folder is the root of the package.
const script = `
  const { loadLate } = require("./dist/stacks/engine/process/load-late.js");
  loadLate();
  const pulumi = require("@pulumi/pulumi");
  const loaded = () => ["@npmcli/arborist", "typescript"].filter((name) => require.cache[require.resolve(name)] !== undefined);
  const seen = [loaded()];
  (async () => {
    const out = 42;
    seen.push((await pulumi.runtime.serializeFunction(() => out)).text.includes("out: 42"), loaded());
    seen.push((await pulumi.runtime.computeCodePaths({ extraIncludePaths: [] })).size > 0, loaded());
    seen.push(typeof require("@npmcli/arborist"), typeof require("typescript").version);
    console.log(JSON.stringify(seen));
  })();
`;

test("the SDK loads what only closures need when it serializes one; a program that asks for the same gets it as it is", () => {
  const said = execFileSync(process.execPath, ["--disable-warning=ExperimentalWarning", "-e", script], { cwd: join(__dirname, "..", "..", "..", ".."), encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NODE_OPTIONS: "" } });
  expect(JSON.parse(said)).toEqual([[], true, ["typescript"], true, ["@npmcli/arborist", "typescript"], "function", "string"]);
}, 60_000);
