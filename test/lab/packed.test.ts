import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEntries } from "../../providers/lab/registry.js";
import { freePort, plainEnv, type Ran, runProgram } from "../support/hc-process.js";
import { askWeb } from "../support/hc-web.js";

// Must hold 7: the packed package, in an empty repository, with a stack of its own; and the README's words for it, as they are written.
jest.setTimeout(240_000);
const checkout = process.cwd();
const readme = readFileSync(join(checkout, "README.md"), "utf8");
const part = (pattern: RegExp): string => {
  const found = pattern.exec(readme)?.[1];
  if (found === undefined) throw new Error(`README.md holds no ${pattern}`);
  return found;
};
const lab = `packed-${process.pid}`;
let folder: string;
let repository: string;
let env: NodeJS.ProcessEnv;
const sh = (line: string): Promise<Ran> => runProgram(["/bin/sh", "-ec", line], { cwd: repository, env, timeoutMs: 200_000 });
async function ok(line: string): Promise<string> {
  const { code, stdout, stderr } = await sh(line);
  if (code !== 0) throw new Error(`${line}: exit ${code}\n${stdout}\n${stderr}`);
  return stdout;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hc-packed-"));
  repository = join(folder, "my-hosting");
  mkdirSync(repository);
  env = plainEnv(join(folder, "home"));
  // the build is there: it is what runs this test
  const packed = await runProgram(["npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder], { cwd: checkout, env });
  expect(packed).toMatchObject({ code: 0 });
  const file = readdirSync(folder).find((name) => name.endsWith(".tgz")) ?? "";
  const install = part(/```sh\n(npm init -y && npm install hybridcluster[^\n]*)\n/).replace("hybridcluster", join(folder, file));
  await ok(install.replace("npm install", "npm install --prefer-offline --no-audit --no-fund"));
  writeFileSync(join(repository, "Pulumi.yaml"), part(/`Pulumi.yaml`\n\n```yaml\n([^`]*)```/));
  const packageFile = join(repository, "package.json");
  const scripts = JSON.parse(`{${part(/`index.ts`, with `("scripts": [^`]*)` in package.json/)}}`) as object;
  writeFileSync(packageFile, JSON.stringify({ ...(JSON.parse(readFileSync(packageFile, "utf8")) as object), ...scripts }));
});
afterAll(async () => {
  if (existsSync(join(repository, "dist"))) await sh("npx hc destroy --yes --remove-stack");
  rmSync(folder, { recursive: true, force: true });
});

test("the README's stack compiles against the package's types", async () => {
  writeFileSync(join(repository, "index.ts"), part(/in package.json\n\n```ts\n([\s\S]*?)```/));
  expect(await sh("npm run --silent build")).toMatchObject({ code: 0 });
});

test("a stack of 30 lines deploys, is unchanged then, answers, and goes without a trace", async () => {
  const port = await freePort();
  mkdirSync(join(repository, "site"));
  writeFileSync(join(repository, "site", "index.php"), "<?php echo 'packed on ', getenv('HC_NODE');");
  writeFileSync(join(repository, "index.ts"), `import { Customer, LocalCluster, LocalEntry, Site, Template } from "hybridcluster";

const { cluster, hosts } = new LocalCluster("own", { lab: "${lab}", nodes: 2 });
const acme = new Customer("acme", { cluster, contact: "it@acme.example" });
const php = new Template("php", { cluster, recipe: "php", version: "1" });
const shop = new Site("shop", { customer: acme, template: php, hostnames: ["shop.localhost"], quota: "64M", replicas: 2, content: \`\${__dirname}/../site\` });
new LocalEntry("entry", { port: ${port}, targets: hosts.map((host) => host.connection.apply((one) => one.address)) }, { dependsOn: [cluster] });
export const home = shop.home, urls = shop.urls;
`);
  expect(await ok("npx hc up --yes")).toMatch(/Resources:\n\s+\+ 13 created/);
  const answer = await askWeb(port, "shop.localhost", "/");
  expect(answer.status).toBe(200);
  expect(answer.body).toMatch(/^packed on n[12]$/);

  expect(await ok("npx hc preview")).toMatch(/Resources:\n\s+13 unchanged/);
  expect(JSON.parse(await ok("npx hc status --json"))).toMatchObject({ nodes: [{ name: "n1", alive: true }, { name: "n2", alive: true }], units: [{ id: "site-shop", state: "serving" }] });
  expect(await ok("npx hc ssh n2 -- hostname")).toBe("n2\n");

  expect(await ok("npx hc destroy --yes --remove-stack")).toMatch(/13 deleted/);
  expect(readEntries().filter((entry) => JSON.stringify(entry).includes(lab))).toEqual([]);
  expect(existsSync(env["HC_HOME"] ?? "") ? readdirSync(env["HC_HOME"] ?? "") : []).toEqual([]);
  await expect(askWeb(port, "shop.localhost", "/")).rejects.toThrow();
});
