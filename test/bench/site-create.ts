import { mkdirSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { cpus } from "node:os";
import { join } from "node:path";
import { delay } from "../../daemon/lib/abort.js";
import type { EngineEvent } from "../../stacks/engine/types.js";
import { HcProject } from "../support/hc-project.js";

/**
 * From `Site` in the program to its first 200, for an existing template, on a real three-node lab: the engine begins the step, the document is written, a home is chosen,
 * the template cloned, the container started, and the site answers on port 80 of another node than asked by the engine. Prints each part and the whole, ms.
 */
const rounds = 5;

function status(address: string, host: string): Promise<number> {
  return new Promise((resolve) => {
    const asked = get({ host: address, port: 80, headers: { host }, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(0));
  });
}
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

async function main(): Promise<void> {
  const project = new HcProject(`bench-${process.pid}`);
  try {
    const up = await project.operate("up");
    if (up.result?.result !== "succeeded") throw new Error(up.error);
    const { nodes } = await project.status();
    const address = nodes.at(-1)?.address as string;
    const found: { firstAnswerMs: number; stepMs: number; upMs: number }[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      const name = `s${round}`;
      project.wish.sites[name] = {};
      let [answeredAtMs, startedAtMs, stepMs, buffer] = [0, 0, 0, ""];
      const ended = new AbortController();
      const poll = (async () => {
        while (!ended.signal.aborted) {
          if ((await status(address, `${name}.localhost`)) === 200) {
            answeredAtMs = Date.now();
            return;
          }
          await delay(10);
        }
      })();
      const beganMs = Date.now();
      const ran = await project.hc(["up", "--yes", "--json"], { seen: (text) => {
        const lines = (buffer + text).split("\n");
        buffer = lines.pop() ?? "";
        for (const line of lines.filter((each) => each.startsWith("{"))) {
          const event = JSON.parse(line) as EngineEvent;
          if (!("step" in event) || event.preview || event.step.name !== name) continue;
          if (event.type === "step-start") startedAtMs = event.atMs;
          if (event.type === "step-end") stepMs = event.durationMs;
        }
      } });
      if (ran.code !== 0) throw new Error(ran.stderr);
      setTimeout(() => ended.abort(), 5_000).unref();
      await poll;
      if (answeredAtMs === 0) throw new Error(`${name} never answered`);
      found.push({ firstAnswerMs: answeredAtMs - startedAtMs, stepMs, upMs: Date.now() - beganMs });
      process.stderr.write(`${JSON.stringify(found.at(-1))}\n`);
    }
    const result = { benchmark: "site-create", what: "from the begin of the engine's step to the first 200 on another node's port 80, ms", cores: cpus().length, node: process.version, rounds: found, medianFirstAnswerMs: median(found.map((each) => each.firstAnswerMs)), wantedMs: 2_000 };
    mkdirSync("bench-results", { recursive: true });
    writeFileSync(join("bench-results", "site-create.json"), `${JSON.stringify(result, null, 2)}\n`);
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } finally {
    await project.remove();
  }
}

void main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  process.exitCode = 1;
});
