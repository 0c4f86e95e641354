import { createServer, type Server } from "node:net";
import type { CommandOptions, CommandResult, CommandRunner } from "../../../daemon/lib/command.js";
import { withLock } from "../../../providers/lab/lock.js";
import { debianPackages, preflight } from "../../../providers/lab/preflight.js";
import { isAlive, markOf } from "../../../providers/lab/processes.js";
import { cacheFolder } from "../../../providers/lab/root.js";
import { NodeRunner } from "../../../providers/lab/node-runner.js";
import { forwarder } from "../../../providers/lab/entry-forward.js";
import { connect } from "node:net";

class Recorder implements CommandRunner {
  public readonly seen: { argv: readonly string[]; options: CommandOptions }[] = [];
  public constructor(private readonly answer: Partial<CommandResult> = {}) {}
  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    this.seen.push({ argv, options });
    return { code: 0, signal: null, stdout: "", stderr: "", durationMs: 1, ...this.answer };
  }
}

describe("preflight", () => {
  it("says on another system what to do instead", async () => {
    await expect(preflight(new Recorder(), "/nowhere", { platform: "darwin", uid: 0 })).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringMatching(/needs Linux.*darwin.*virtual machine/) });
  });
  it("names the missing root before anything is tried", async () => {
    const runner = new Recorder();
    await expect(preflight(runner, "/nowhere", { platform: "linux", uid: 1000 })).rejects.toMatchObject({ message: expect.stringContaining("needs root") });
    expect(runner.seen).toEqual([]);
  });
  it("lists each missing package once, with the reason", async () => {
    expect(await debianPackages(async () => true)).toEqual([]);
    const missing = await debianPackages(async (program) => !["mmdebstrap", "flock", "unshare"].includes(program));
    expect(missing.map((each) => each.package)).toEqual(["mmdebstrap", "util-linux"]);
    expect(missing[0]?.why).toContain("Debian root");
  });
});

describe("locks", () => {
  it("let one in at a time, in one process too, and pass on after a failure", async () => {
    let inside = 0;
    let most = 0;
    const name = `test ${process.pid}`;
    const enter = (fail: boolean) => withLock(name, 10_000, async () => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((wake) => setImmediate(wake));
      inside -= 1;
      if (fail) throw new Error("inside");
    });
    const results = await Promise.allSettled([enter(false), enter(true), enter(false), enter(false)]);
    expect(most).toBe(1);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
  });
  it("give up at their deadline", async () => {
    const name = `deadline ${process.pid}`;
    await withLock(name, 1000, async () => {
      await expect(withLock(name, 100, async () => undefined)).rejects.toMatchObject({ code: "TIMEOUT" });
    });
  });
});

it("a process is known by pid and start time", () => {
  const mark = markOf(process.pid);
  expect(mark).toBeDefined();
  expect(isAlive(mark as NonNullable<typeof mark>)).toBe(true);
  expect(isAlive({ pid: process.pid, started: "1" })).toBe(false);
  expect(markOf(2 ** 30)).toBeUndefined();
});

it("a cache folder that mount would misread is refused", () => {
  expect(cacheFolder({ HC_CACHE: "/srv/cache" })).toBe("/srv/cache/roots");
  for (const bad of ["relative", "/with,comma", "/with:colon"]) expect(() => cacheFolder({ HC_CACHE: bad })).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
});

describe("the runner of a node", () => {
  it("enters all namespaces without the machine's environment, and with argv as it stands", async () => {
    const machine = new Recorder();
    await new NodeRunner(machine, "n1", () => 42).run(["printf", "%s", "a b;c"], { timeoutMs: 5, env: { KEY: "v w" } });
    const argv = machine.seen[0]?.argv ?? [];
    expect(argv.slice(0, 6)).toEqual(["nsenter", "--target", "42", "--all", "--wdns=/", "--"]);
    expect(argv.slice(-3)).toEqual(["printf", "%s", "a b;c"]);
    expect(argv.join(" ")).not.toContain("v w"); // no value in a process list
    expect(machine.seen[0]?.options.env).toMatchObject({ KEY: "v w", HOME: "/root" });
    for (const name of Object.keys(process.env)) if (!["PATH", "HOME", "LC_ALL"].includes(name)) expect(argv).toContain(name);
  });
  it("says that a node is down, and which program is missing", async () => {
    await expect(new NodeRunner(new Recorder(), "n1", () => undefined).run(["true"], { timeoutMs: 5 })).rejects.toMatchObject({ code: "UNREACHABLE" });
    const missing = new Recorder({ code: 127, stderr: "env: 'nothing': No such file or directory\n" });
    await expect(new NodeRunner(missing, "n1", () => 42).run(["nothing"], { timeoutMs: 5 })).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND" });
  });
});

describe("forwarding", () => {
  const servers: Server[] = [];
  const listen = (server: Server): Promise<number> => new Promise((done) => {
    servers.push(server);
    server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port));
  });
  const echo = (name: string) => createServer((socket) => { socket.on("error", () => socket.destroy()); socket.on("data", (data) => socket.end(`${name}:${data.toString()}`)); });
  const ask = (port: number): Promise<string> => new Promise((done) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("connect", () => socket.write("hello"));
    socket.on("data", (data) => { text += data.toString(); });
    socket.on("error", () => undefined);
    socket.on("close", () => done(text));
  });
  const close = (server: Server): Promise<void> => new Promise((done) => server.close(() => done()));
  afterEach(async () => { for (const server of servers.splice(0)) if (server.listening) await close(server); });

  it("goes to the first that accepts, and stays with it", async () => {
    const first = echo("one");
    const one = await listen(first);
    const two = await listen(echo("two"));
    const port = await listen(forwarder({ targets: [{ host: "127.0.0.1", port: one }, { host: "127.0.0.1", port: two }], connectTimeoutMs: 300, maxConnections: 8 }));
    expect(await ask(port)).toBe("one:hello");
    await close(first);
    expect(await ask(port)).toBe("two:hello");
    const again = echo("one again");
    servers.push(again);
    await new Promise<void>((done) => again.listen(one, "127.0.0.1", () => done()));
    expect(await ask(port)).toBe("two:hello"); // the last good one first
  });
  it("ends the connection when nobody accepts, and sends nothing from an address it does not have", async () => {
    const two = await listen(echo("two"));
    const port = await listen(forwarder({ targets: [{ host: "127.0.0.1", port: two, localAddress: "10.77.250.1" }], connectTimeoutMs: 300, maxConnections: 8 }));
    expect(await ask(port)).toBe("");
  });
});
