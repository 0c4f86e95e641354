import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { PassThrough, Readable, Writable } from "node:stream";
import type { CommandRunner } from "../../daemon/lib/command.js";

/** What every CommandRunner does. `pidLives` looks at the machine where commands run. */
export interface RunnerSubject {
  name: string;
  runner(): CommandRunner;
  pidLives(pid: number): Promise<boolean>;
}
const timeoutMs = 20_000;
const gone = async (subject: RunnerSubject, pid: number): Promise<void> => {
  while (await subject.pidLives(pid)) await new Promise((resolve) => setImmediate(resolve));
};
class Collector extends Writable {
  public readonly hash = createHash("sha256");
  public bytes = 0;
  public text = "";
  public override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.hash.update(chunk);
    this.bytes += chunk.length;
    if (this.text.length < 1000) this.text += chunk.toString();
    done();
  }
}

export function runnerContract(subject: RunnerSubject): void {
  const run: CommandRunner["run"] = (argv, options) => subject.runner().run(argv, options);

  describe(`CommandRunner: ${subject.name}`, () => {
    it("gives output, error text and exit code as values", async () => {
      expect(await run(["sh", "-c", "echo out; echo err >&2; exit 3"], { timeoutMs })).toMatchObject({ code: 3, signal: null, stdout: "out\n", stderr: "err\n" });
      expect(await run(["true"], { timeoutMs })).toMatchObject({ code: 0, stdout: "", stderr: "" });
    });
    it("finds the exit of the shortest programs every time", async () => {
      const codes = await Promise.all(Array.from({ length: 30 }, async (_, number) => (await run(["sh", "-c", `exit ${number}`], { timeoutMs })).code));
      expect(codes).toEqual(Array.from({ length: 30 }, (_, number) => number));
    });
    it.each([["spaces  and tabs\t"], ["'\"`$(id)$HOME\\"], ["line\nbreak\n"], ["!history #comment ; | & < >"], ["~ * ? [a]"], ["ünï⚙"], ["-n"], [""], ["%s\\n\\0101"]])("hands the argument %j on unchanged", async (argument) => {
      expect((await run(["printf", "%s|", argument, "end"], { timeoutMs })).stdout).toBe(`${argument}|end|`);
    });
    it("hands standard input on: text, bytes, streams; none is empty", async () => {
      expect((await run(["cat"], { timeoutMs, input: "päper\n" })).stdout).toBe("päper\n");
      expect((await run(["wc", "-c"], { timeoutMs })).stdout.trim()).toBe("0");
      const bytes = randomBytes(3 << 20);
      const digest = createHash("sha256").update(bytes).digest("hex");
      expect((await run(["sha256sum"], { timeoutMs, input: bytes })).stdout).toBe(`${digest}  -\n`);
      expect((await run(["sha256sum"], { timeoutMs, input: Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]) })).stdout).toBe(`${digest}  -\n`);
    });
    it("streams output of any size", async () => {
      const output = new Collector();
      expect(await run(["head", "-c", String(20 << 20), "/dev/zero"], { timeoutMs, output, maxOutputBytes: 10 })).toMatchObject({ code: 0, stdout: "" });
      expect(output.bytes).toBe(20 << 20);
    });
    it("does not wait for input that nobody reads", async () => {
      expect((await run(["true"], { timeoutMs, input: randomBytes(4 << 20) })).code).toBe(0);
    });
    it("sets environment and folder", async () => {
      expect((await run(["sh", "-c", 'printf "%s|%s" "$HC_A" "$HC_B"'], { timeoutMs, env: { HC_A: "a 'b' $c", HC_B: "" }, input: "ignored" })).stdout).toBe("a 'b' $c|");
      expect((await run(["sh", "-c", 'printf "%s" "$HC_A"; cat'], { timeoutMs, env: { HC_A: "a" }, input: "rest" })).stdout).toBe("arest");
      expect((await run(["pwd"], { timeoutMs, cwd: "/usr" })).stdout).toBe("/usr\n");
    });
    it("ends a program, with its children, at its deadline", async () => {
      const output = new Collector();
      await expect(run(["sh", "-c", "sleep 600 & echo $! $$; wait"], { timeoutMs: 600, output })).rejects.toMatchObject({ code: "COMMAND_TIMEOUT" });
      const [child, parent] = output.text.trim().split(" ").map(Number) as [number, number];
      expect(child).toBeGreaterThan(1);
      await gone(subject, child);
      await gone(subject, parent);
    });
    it("ends a program when it is cancelled", async () => {
      const abort = new AbortController();
      const output = new Collector();
      const running = run(["sh", "-c", "echo $$; exec sleep 600"], { timeoutMs: 60_000, output, signal: abort.signal });
      running.catch(() => undefined);
      while (!output.text.includes("\n")) await new Promise((resolve) => setImmediate(resolve));
      abort.abort();
      await expect(running).rejects.toMatchObject({ code: "ABORTED" });
      await gone(subject, Number(output.text.trim()));
      await expect(run(["true"], { timeoutMs, signal: abort.signal })).rejects.toMatchObject({ code: "ABORTED" });
    });
    it("ends a program that is cancelled, or whose input breaks, before it has begun", async () => {
      const abort = new AbortController();
      const waiting = run(["cat"], { timeoutMs: 60_000, input: new PassThrough(), signal: abort.signal });
      abort.abort();
      await expect(waiting).rejects.toMatchObject({ code: "ABORTED" });
      const input = new PassThrough();
      const fed = run(["cat"], { timeoutMs: 60_000, input });
      input.write("some");
      input.destroy(new Error("the sender went away"));
      await expect(fed).rejects.toMatchObject({ code: "COMMAND_FAILED" });
    });
    it("bounds what it keeps", async () => {
      await expect(run(["sh", "-c", "printf 12345678901"], { timeoutMs, maxOutputBytes: 10 })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
      await expect(run(["yes"], { timeoutMs, maxOutputBytes: 1 << 20 })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
      const { stderr } = await run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2"], { timeoutMs });
      expect(stderr.length).toBeLessThanOrEqual(64 * 1024);
      expect(stderr.endsWith("xend\n")).toBe(true);
    });
    it("tells a program that is not there from one that ends with 127", async () => {
      await expect(run(["hc-no-such-program"], { timeoutMs })).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
      expect((await run(["sh", "-c", "exit 127"], { timeoutMs })).code).toBe(127);
    });
    it("names no secret in its errors", async () => {
      await expect(run(["sh", "-c", "sleep 600", "sh", "geheim"], { timeoutMs: 100, secrets: ["geheim"] })).rejects.toMatchObject({ message: expect.not.stringContaining("geheim") });
    });
    it("tells death by a signal", async () => {
      const result = await run(["sh", "-c", "kill -KILL $$"], { timeoutMs });
      expect(result.code).not.toBe(0);
    });
  });
}

/** For machines that are this one. */
export const pidLivesHere = async (pid: number): Promise<boolean> => existsSync(`/proc/${pid}`);
