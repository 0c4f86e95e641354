import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../../daemon/lib/backoff.js";
import { type CommandOptions, type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import { errorCode, HcError } from "../../../daemon/lib/errors.js";
import { makeKey } from "../../../providers/lab/keys.js";
import { closeConnections } from "../../../providers/ssh/pool.js";
import { SshRunner } from "../../../providers/ssh/ssh-runner.js";
import type { Image } from "./image.js";

/** 20 s on an idle machine without KVM. */
const bootMs = 4 * 60_000;
const prefix = "hc-openzfs-";

export interface Machine {
  /** Over SSH with the pinned host key, as production does. */
  runner: CommandRunner;
  /** Throws on a non-zero exit; returns standard output. Default deadline 60 s. */
  ok(argv: readonly string[], options?: Partial<CommandOptions>): Promise<string>;
  /** Each on a file of its own. */
  pools: readonly string[];
  /** Power off and every trace gone; twice is success. */
  destroy(): Promise<void>;
}

/** A port of the loopback that was free a moment ago. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}

/** Folders of runs that were killed; their machine ended with them. */
async function clearLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(new RegExp(`^${prefix}([0-9]+)-`).exec(name)?.[1] ?? "0");
    if (pid === 0 || pid === process.pid) continue;
    try {
      process.kill(pid, 0);
    } catch {
      await rm(join(tmpdir(), name), { recursive: true, force: true });
    }
  }
}

/** The keys of this run, as a tar that the machine unpacks over its root. */
async function seed(local: CommandRunner, dir: string): Promise<{ hostKey: string; privateKeyPath: string }> {
  const [host, user] = [makeKey("openzfs-host"), makeKey("openzfs-user")];
  const files = join(dir, "seed", "etc", "ssh");
  await mkdir(files, { recursive: true });
  await writeFile(join(files, "openzfs_host_key"), host.privateKey, { mode: 0o600 });
  await writeFile(join(files, "openzfs_authorized"), `${user.publicKey}\n`, { mode: 0o644 });
  await writeFile(join(dir, "key"), user.privateKey, { mode: 0o600 });
  await runOk(local, ["tar", "-cf", join(dir, "seed.tar"), "-C", join(dir, "seed"), "etc"], { timeoutMs: 30_000 });
  return { hostKey: host.publicKey, privateKeyPath: join(dir, "key") };
}

/** Arguments of QEMU. Always emulated: a /dev/kvm may be there and lead nowhere (tried: the guest never ran), and the plainest processor is emulated fastest. The network is QEMU's own (user mode): nothing leaves the machine (`restrict`), and only the loopback gets in, to sshd. Pure. */
export function qemuArgs(image: Image, dir: string, port: number): string[] {
  const drive = (file: string, more: string): string[] => ["-drive", `file=${file},format=raw,if=virtio,${more}`];
  return [
    "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "1024",
    "-serial", `file:${join(dir, "console.log")}`, "-device", "virtio-rng-pci",
    "-kernel", image.kernel, "-initrd", image.initrd, "-append", "console=ttyS0 root=/dev/vda rw init=/sbin/openzfs-init panic=-1 quiet mitigations=off",
    ...drive(image.disk, "snapshot=on,cache=unsafe"), ...drive(join(dir, "seed.tar"), "readonly=on"),
    "-netdev", `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${port}-:22`, "-device", "virtio-net-pci,netdev=net,romfile=",
  ];
}

/** Boots a machine with these pools and waits for its sshd. It ends with this process at the latest. */
export async function startMachine(local: CommandRunner, image: Image, pools: readonly string[] = ["one", "two"], diskBytes = 512 * 1024 ** 2): Promise<Machine> {
  await clearLeftovers();
  const dir = join(tmpdir(), `${prefix}${process.pid}-${Date.now().toString(36)}`);
  await mkdir(dir, { mode: 0o700 });
  const { hostKey, privateKeyPath } = await seed(local, dir);
  const port = await freePort();
  const log = openSync(join(dir, "qemu.log"), "w", 0o600);
  const qemu = spawn("setpriv", ["--pdeathsig", "KILL", "qemu-system-x86_64", ...qemuArgs(image, dir, port)], { cwd: dir, stdio: ["ignore", log, log], env: { ...process.env, TMPDIR: dir } });
  closeSync(log);
  let over: string | undefined;
  const ended = new Promise<void>((resolve) => {
    const end = (how: string): void => {
      over = how;
      resolve();
    };
    qemu.once("error", (error) => end(error.message));
    qemu.once("exit", (code, signal) => end(`exit ${code ?? signal}`));
  });
  const destroy = async (): Promise<void> => {
    await closeConnections();
    if (over === undefined) qemu.kill("SIGKILL");
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  const tail = async (name: string): Promise<string> => (await readFile(join(dir, name), "latin1").catch(() => "")).trim().split(/\r?\n/).slice(-8).join(" | ");
  const runner = new SshRunner({ address: "127.0.0.1", port, user: "root", hostKey, privateKeyPath });
  const ok = (argv: readonly string[], options: Partial<CommandOptions> = {}): Promise<string> => runOk(runner, argv, { timeoutMs: 60_000, ...options });
  try {
    await until("boot of the OpenZFS machine", { withinMs: bootMs, firstMs: 500, capMs: 1_000 }, async () => {
      if (over !== undefined) throw new HcError("COMMAND_FAILED", `QEMU ended (${over}): ${await tail("qemu.log")}`, { retry: "never" });
      if (!/openzfs: ready/.test(await readFile(join(dir, "console.log"), "latin1").catch(() => ""))) return undefined;
      try {
        return (await runner.run(["true"], { timeoutMs: 30_000 })).code === 0 ? true : undefined;
      } catch (error) {
        if (errorCode(error) === "UNREACHABLE") return undefined; // sshd is on its way
        throw error;
      }
    });
    for (const pool of pools) {
      // a file: labelling a whole disk waits for udev, which there is none of
      const file = `/var/tmp/${pool}.img`;
      await ok(["truncate", "-s", String(diskBytes), file]);
      await ok(["zpool", "create", "-O", "atime=off", "-m", `/${pool}`, pool, file]);
    }
  } catch (error) {
    const [console, said] = [await tail("console.log"), await tail("qemu.log")];
    await destroy();
    throw new HcError("COMMAND_FAILED", `The OpenZFS machine did not come up: ${(error as Error).message} (console: ${console}; qemu: ${said})`, { cause: error, retry: "never" });
  }
  return { runner, ok, pools, destroy };
}
