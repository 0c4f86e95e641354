import { spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { childrenOf } from "./hc-process.js";
import type { HcProject } from "./hc-project.js";

export type Victim = "engine" | "provider" | "hcd" | "node";
export interface Strike { seed: number; victim: Victim; node: string; afterMs: number; sites: Record<string, object> }

/** mulberry32: the same seed gives the same strike on every machine. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
/** What is killed, when within the `up`, and which sites the program then wants. */
export function strikeOf(seed: number, withinMs: number): Strike {
  const random = randomOf(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const wanted = ["a", "b", "c", "d"].filter(() => random() < 0.6);
  return {
    seed, victim: (["engine", "provider", "hcd", "node"] as const)[seed % 4] as Victim, node: pick(["n1", "n2", "n3"]), afterMs: Math.floor(random() * withinMs),
    sites: Object.fromEntries(wanted.map((name) => [name, { quota: pick(["64M", "96M"]) }])),
  };
}

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it has ended by itself
  }
};

/** An `up` that is struck; settles when its process has ended. Tells whether there was something to strike. */
export async function struckUp(project: HcProject, strike: Strike): Promise<boolean> {
  project.wish.sites = strike.sites;
  writeFileSync(join(project.folder, "wish.json"), JSON.stringify(project.wish));
  const child = spawn(process.execPath, [join(process.cwd(), "dist", "cli", "main.js"), "up", "--yes", "--allow-delete", "9"], { cwd: project.folder, env: project.env, detached: true, stdio: "ignore" });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  await Promise.race([ended, delay(strike.afterMs)]);
  if (child.exitCode !== null || child.pid === undefined) return false;
  let struck = true;
  switch (strike.victim) {
    case "engine": kill(child.pid); break;
    case "provider": {
      const pids = childrenOf(child.pid, "dynamic-provider");
      struck = pids.length > 0;
      pids.forEach(kill);
      break;
    }
    case "hcd": struck = (await project.hc(["ssh", strike.node, "--", "systemctl", "kill", "-s", "KILL", "hcd.service"])).code === 0; break;
    case "node": struck = (await project.hc(["lab", "kill", strike.node])).code === 0; break;
  }
  const timer = setTimeout(() => child.pid !== undefined && kill(child.pid), 300_000);
  await ended;
  clearTimeout(timer);
  return struck;
}

/** Everything on any node that no record names. */
export async function debrisOf(project: HcProject): Promise<unknown[]> {
  const home = join(project.folder, "home");
  const clusters = join(home, readdirSync(home)[0] ?? "", "clusters");
  const file = readdirSync(clusters).find((name) => name.endsWith(".json")) ?? "";
  const { connections } = JSON.parse(readFileSync(join(clusters, file), "utf8")) as { connections: Connection[] };
  return Promise.all(connections.map((connection) => apiCall([connection], "GET", "/v1/debris", undefined, { timeoutMs: 20_000 })));
}
export const noDebris = ["n1", "n2", "n3"].map((node) => ({ node, datasets: [], users: [], services: [], mounts: [] }));
