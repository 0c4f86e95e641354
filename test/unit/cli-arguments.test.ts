import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseStack, findProject } from "../../cli/project.js";
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
  expect(names).toEqual(["up", "preview", "refresh", "destroy", "start", "stop", "status", "nodes", "node", "units", "site", "why", "move", "probe", "promote", "fence", "unfence", "adopt-pool", "quorum", "logs", "events", "alerts", "vault", "stash", "trash", "lab", "doctor", "ssh", "version", "completion"]);
});
test("completion: for the shell that is named, with the words of the place", async () => {
  expect((await hc("completion", "zsh")).stdout).toMatch(/^#compdef hc\n/);
  expect((await hc("completion", "bash")).stdout).toContain("complete -o bashdefault -o default -F _hc_yargs_completions hc");
  expect((await hc("--get-yargs-completions", "hc", "trash", "")).stdout.split("\n")).toEqual(expect.arrayContaining(["list", "restore", "purge"]));
});
