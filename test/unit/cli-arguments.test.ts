import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseStack, findProject } from "../../cli/project.js";
import type { ProbeReport } from "../../cli/probe/run-probe.js";
import { type Ran, runProgram } from "../support/hc-process.js";

// What hc says to words that it cannot use; nothing of the command runs then.
const folder = mkdtempSync(join(tmpdir(), "hc-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const hc = (...args: string[]): Promise<Ran> => runProgram([process.execPath, join(process.cwd(), "dist", "cli", "main.js"), ...args], { cwd: folder, env: { ...process.env, HC_HOME: folder, SHELL: "/bin/sh" } });

test.each<[string[], string]>([
  [[], "hc: Name a command; `hc --help` lists them.\nSee hc --help.\n"],
  [["stauts"], "hc: Did you mean status?\nSee hc --help.\n"],
  [["destroy", "--yse"], "hc: Unknown argument: yse\nSee hc destroy --help.\n"],
  [["move", "wiki"], "hc: Missing required argument: to\nSee hc move --help.\n"],
  [["events", "site", "wiki"], "hc: Unknown argument: wiki\nSee hc events --help.\n"],
])("%j is refused as wrong use, and nothing runs", async (args, text) => {
  expect(await hc(...args)).toEqual({ code: 2, stdout: "", stderr: text });
});
test("programs get errors as JSON with the code of the table", async () => {
  const ran = await hc("status", "--json", "--foo");
  expect(ran.code).toBe(2);
  expect(JSON.parse(ran.stdout)).toEqual({ error: { code: "INVALID_INPUT", message: "Unknown argument: foo" } });
});
test("outside a project every command says where it looked", async () => {
  const ran = await hc("status");
  expect(ran.stderr).toContain("Pulumi.yaml");
  expect(ran.stderr).not.toMatch(/^ +at /m);
  expect(ran.code).toBe(1);
});
test("a stack's name that is not known is taken for a mistake where there are others", async () => {
  const root = mkdtempSync(join(folder, "project-"));
  writeFileSync(join(root, "Pulumi.yaml"), "name: web-host\nruntime: nodejs\nmain: index.js\n");
  expect(chooseStack(findProject(root), "prod")).toBe("prod");
  writeFileSync(join(root, "Pulumi.prod.yaml"), "");
  expect(chooseStack(findProject(root), undefined)).toBe("prod");
  expect(chooseStack(findProject(root), "old", ["old"])).toBe("old");
  expect((await hc("up", "--cwd", root, "--stack", "prdo")).stderr).toContain("There is no stack prdo; there are: prod. To begin another one, make its settings file first: touch Pulumi.prdo.yaml");
});
test("--help of each command has a description, and the whole has the exit codes", async () => {
  const { stdout } = await hc("--help");
  expect(stdout).toMatch(/Exit codes: 0 well, 1 failed/);
  const names = [...(stdout.split("Options:")[0] as string).matchAll(/^ {2}hc ([a-z-]+)/gm)].map((match) => match[1] as string);
  expect(names).toEqual(["up", "preview", "refresh", "destroy", "start", "stop", "status", "nodes", "node", "units", "site", "why", "move", "hold", "release", "probe", "promote", "fence", "unfence", "adopt-pool", "quorum", "logs", "events", "alerts", "vault", "stash", "trash", "lab", "doctor", "ssh", "version", "completion"]);
});
test("completion: for the shell that is named, with the words of the place", async () => {
  expect((await hc("completion", "zsh")).stdout).toMatch(/^#compdef hc\n/);
  expect((await hc("completion", "bash")).stdout).toContain("complete -o bashdefault -o default -F _hc_yargs_completions hc");
  expect((await hc("--get-yargs-completions", "hc", "trash", "")).stdout.split("\n")).toEqual(expect.arrayContaining(["list", "restore", "purge"]));
});
test("hc probe says what it cannot ask, and its exit code whether anything failed", async () => {
  expect(await hc("probe", "ftp://shop.example/")).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining('"ftp://shop.example/" is no http:// or https:// address.') });
  expect((await hc("probe", "http://shop.example/", "--to", "n1")).stderr).toContain('--to takes IP addresses, not "n1".');
  expect((await hc("probe", "http://shop.example/", "--rate", "0")).stderr).toContain("--rate is a number from 0.01 to 5000, not 0.");
  const site = createServer((_request, response) => response.end("well")).listen(0, "127.0.0.1");
  await once(site, "listening");
  const url = `http://shop.example:${(site.address() as AddressInfo).port}/`;
  const well = await hc("probe", url, "--to", "127.0.0.1", "-s", "0.5", "--json");
  expect([well.code, (JSON.parse(well.stdout) as ProbeReport).urls[0]]).toEqual([0, expect.objectContaining({ url, failed: 0 })]);
  expect((await hc("probe", url, "--to", "127.0.0.1", "--write")).stderr).toContain("--write needs a site with the content of stacks/content/probe");
  site.close();
  site.closeAllConnections();
  const gone = await hc("probe", url, "--to", "127.0.0.1", "-s", "0.5");
  expect([gone.code, gone.stdout]).toEqual([1, expect.stringMatching(/0 answered well, \d+ failed\n {2}longest time without a good answer: .*\n {2}failed: \d+ × ECONNREFUSED/)]);
});
