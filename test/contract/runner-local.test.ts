import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { ShellRunner } from "../../daemon/lib/shell-runner.js";
import { pidLivesHere, runnerContract } from "./runner.js";

const shells = new ShellRunner();
afterAll(() => shells.close());
const timeoutMs = 20_000;
const seq = (from: number, length: number): number[] => Array.from({ length }, (_, at) => from + at);
const shellOf = async (runner: ShellRunner): Promise<number> => Number((await runner.run(["sh", "-c", "echo $PPID"], { timeoutMs })).stdout);

runnerContract({ name: "this machine", runner: () => new LocalRunner(), pidLives: pidLivesHere });
runnerContract({ name: "this machine, by waiting shells", runner: () => shells, pidLives: pidLivesHere });

test.each([["started here", (niceness?: number) => Object.assign(new LocalRunner(niceness), { close: () => undefined })], ["by waiting shells", (niceness?: number) => new ShellRunner(niceness)]])("what is run gets the niceness that its runner was made with: %s", async (_, make) => {
  const untilNice = (niceness: number): string[] => ["sh", "-c", `until [ "$(nice)" = ${niceness} ]; do sleep 0.01; done`];
  for (const niceness of [7, undefined]) {
    const runner = make(niceness);
    expect(await runner.run(untilNice(niceness ?? getPriority()), { timeoutMs: 5_000 })).toMatchObject({ code: 0 });
    runner.close();
  }
});

describe("ShellRunner", () => {
  it("uses one shell for commands that follow each other, and 16 at most for those that come together", async () => {
    const runner = new ShellRunner();
    const one = await shellOf(runner);
    for (const _ of seq(0, 5)) expect(await shellOf(runner)).toBe(one);
    const together = await Promise.all(seq(0, 40).map(() => runner.run(["sh", "-c", "echo $PPID; sleep 0.2"], { timeoutMs })));
    const parents = new Set(together.map(({ stdout }) => Number(stdout)));
    expect(parents.size).toBe(17);
    expect(parents).toContain(process.pid); // who found none free
    runner.close();
    for (const pid of [...parents].filter((parent) => parent !== process.pid)) while (await pidLivesHere(pid)) await new Promise((resolve) => setImmediate(resolve));
  });
  it("keeps outputs of one shell apart, whatever they end with", async () => {
    const written = ["", "x", "a\n", "\n\n", "\0", "\0abc 0\n", "x".repeat(100_000), `${"y".repeat(70)}\n`];
    const runner = new ShellRunner();
    for (const text of [...written, ...written.reverse()]) {
      const file = text.replaceAll("\0", "\\0").replaceAll("\n", "\\n");
      expect(await runner.run(["printf", file.length > 1000 ? "%s" : "%b", file], { timeoutMs })).toMatchObject({ code: 0, stdout: text, stderr: "" });
      expect(await runner.run(["sh", "-c", `printf "%b" "$1" >&2; exit 4`, "sh", file], { timeoutMs })).toMatchObject({ code: 4, stdout: "", stderr: text.slice(-64 * 1024) });
    }
    runner.close();
  });
  it("goes on with another shell after a deadline, and after its shell was killed", async () => {
    const runner = new ShellRunner();
    const first = await shellOf(runner);
    await expect(runner.run(["sleep", "600"], { timeoutMs: 100 })).rejects.toMatchObject({ code: "COMMAND_TIMEOUT" });
    expect(await pidLivesHere(first)).toBe(false);
    const second = await shellOf(runner);
    expect(second).not.toBe(first);
    await expect(runner.run(["sh", "-c", "kill -KILL $PPID; sleep 1"], { timeoutMs })).rejects.toMatchObject({ code: "COMMAND_FAILED", message: expect.stringContaining("SIGKILL") });
    const third = await shellOf(runner);
    process.kill(third, "SIGKILL"); // while it waits
    while (await pidLivesHere(third)) await new Promise((resolve) => setImmediate(resolve));
    expect(await shellOf(runner)).not.toBe(third);
    runner.close();
  });
  it("does not take what a child that was left behind writes for the output of the next command", async () => {
    const runner = new ShellRunner();
    const shell = await shellOf(runner);
    expect((await runner.run(["sh", "-c", "(sleep 1; echo late) & echo soon"], { timeoutMs })).stdout).toBe("soon\n");
    while (await pidLivesHere(shell)) await new Promise((resolve) => setImmediate(resolve));
    expect((await runner.run(["echo", "next"], { timeoutMs })).stdout).toBe("next\n");
    runner.close();
  });
  it("finds the end of a command also when a child that was left behind writes right after it", async () => {
    const runner = new ShellRunner();
    for (const _ of seq(0, 40)) expect(await runner.run(["sh", "-c", `printf "%100s\\n" x & exit 3`], { timeoutMs: 5_000 })).toMatchObject({ code: 3 });
    runner.close();
  });
  it("ends what runs when it is cancelled, and does not wait for who holds the output of a shell that was killed", async () => {
    const runner = new ShellRunner();
    const shell = await shellOf(runner);
    const [abort, sleeper] = [new AbortController(), runner.run(["sh", "-c", "(exec sleep 5) & exit 0"], { timeoutMs })];
    await sleeper;
    process.kill(shell, "SIGKILL");
    while (await pidLivesHere(shell)) await new Promise((resolve) => setImmediate(resolve));
    const next = await shellOf(runner); // at once: the sleeper lives on and holds the other one's output
    const running = runner.run(["sleep", "600"], { timeoutMs: 60_000, signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: "ABORTED" });
    while (await pidLivesHere(next)) await new Promise((resolve) => setImmediate(resolve));
    runner.close();
  });
  it("runs nothing of a line that was cut by the end of this process", async () => {
    const folder = mkdtempSync(join(tmpdir(), "hc-cut-"));
    const words = seq(0, 4_000).map((number) => `${"word".repeat(20)}${number}`);
    const program = `const { ShellRunner } = require(${JSON.stringify(join(__dirname, "../../daemon/lib/shell-runner.js"))});
      const runner = new ShellRunner();
      runner.run(["sh", "-c", "echo $PPID"], { timeoutMs: 5000 }).then(({ stdout }) => {
        require("node:fs").writeSync(1, stdout);
        runner.run(["touch", ...${JSON.stringify(words)}.map((word) => ${JSON.stringify(folder)} + "/" + word)], { timeoutMs: 5000 });
        process.kill(process.pid, "SIGKILL");
      });`;
    const shell = Number((await new LocalRunner().run([process.execPath, "--input-type=commonjs", "-"], { timeoutMs, input: program })).stdout);
    expect(shell).toBeGreaterThan(1);
    while (await pidLivesHere(shell)) await new Promise((resolve) => setImmediate(resolve));
    expect(readdirSync(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });
  it("tells a signal as sh(1) does", async () => {
    expect(await shells.run(["sh", "-c", "kill -KILL $$"], { timeoutMs })).toMatchObject({ code: 137 });
    expect(await shells.run(["sh", "-c", "kill -TERM $$"], { timeoutMs })).toMatchObject({ code: 143 });
  });
});
