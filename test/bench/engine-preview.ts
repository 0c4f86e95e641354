import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type OperationOptions, type OperationResult, type PlannedStep, runOperation } from "../../stacks/engine/index.js";
import { readCheckpoint, writeCheckpoint } from "../../stacks/engine/state/checkpoint.js";
import { createCrypter } from "../../stacks/engine/secrets/passphrase.js";
import type { ResourceRecord } from "../../stacks/engine/types.js";
import { defaultProviderUrn, providerType, stackUrn } from "../../stacks/engine/urn.js";

/**
 * How long a preview without any change takes for 100, 300 and 1,000 sites: real program, real provider process, the library's own resources and
 * handlers. The state is written as an `up` would have left it, because there are no machines here.
 */
const sizes = [100, 300, 1_000];
const passphrase = "bench";

function operation(dir: string, sites: number): OperationOptions {
  return {
    kind: "preview", projectRoot: dir, program: join(process.cwd(), "test", "fixtures", "engine", "sites.js"), project: "bench", stack: "dev", workspace: join(dir, "ws"),
    env: { ...process.env, SITES: String(sites), HC_ENGINE: "embedded", PULUMI_BACKEND_URL: undefined, PULUMI_CONFIG_PASSPHRASE: passphrase },
  };
}

async function writeState(options: OperationOptions): Promise<void> {
  let plan: PlannedStep[] = [];
  const planned = await runOperation({ ...options, beforeApply: async (steps) => {
    plan = steps;
  } });
  if (planned.result !== "succeeded") throw new Error(planned.diagnostics[0]);
  const provider = { urn: defaultProviderUrn("dev", "bench"), id: "00000000-0000-4000-8000-000000000000" };
  const root = stackUrn("dev", "bench");
  const records = plan.map((step): ResourceRecord => {
    const custom = step.newInputs !== undefined;
    const inputs = step.newInputs ?? {};
    const common = { urn: step.urn, custom, type: step.type, inputs, ...(step.urn !== root && { parent: step.parent ?? root }) };
    return custom ? { ...common, id: step.name, provider: `${provider.urn}::${provider.id}`, outputs: { ...inputs, home: "n1", replicaNodes: ["n2"], urls: [], epoch: 1, schemaVersion: 1 } } : { ...common, outputs: {} };
  });
  const all: ResourceRecord[] = [...records, { ...provider, custom: true, type: providerType, inputs: {}, outputs: {} }];
  await writeCheckpoint(options, { resources: all, pending: [], salt: (await createCrypter(passphrase)).salt }, new Date(0).toISOString());
  if ((await readCheckpoint(options))?.resources.length !== all.length) throw new Error("the state was not written");
}

async function measure(sites: number): Promise<{ ms: number; result: OperationResult; why: string }> {
  const dir = mkdtempSync(join(tmpdir(), "engine-bench-"));
  try {
    mkdirSync(join(dir, "ws"));
    writeFileSync(join(dir, "Pulumi.yaml"), "name: bench\nruntime: nodejs\n");
    const options = operation(dir, sites);
    await writeState(options);
    // the salt was made anew with the state; the project's file follows it
    let why = "";
    const startedMs = performance.now();
    const result = await runOperation({ ...options, beforeApply: async (plan) => {
      why = JSON.stringify(plan.find((step) => step.op !== "same" && step.diff.length > 0)?.diff ?? "");
    } });
    return { ms: performance.now() - startedMs, result, why };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function main(): Promise<void> {
  process.stdout.write("no-change preview   sites   unchanged   time    per site\n");
  for (const sites of sizes) {
    const { ms, result, why } = await measure(sites);
    if (result.result !== "succeeded" || result.changes.same < sites) throw new Error(`not a preview without change: ${JSON.stringify(result.changes)} ${why}`);
    process.stdout.write(`${"".padEnd(17)} ${String(sites).padStart(7)} ${String(result.changes.same).padStart(11)} ${`${(ms / 1000).toFixed(1)} s`.padStart(7)} ${`${(ms / sites).toFixed(1)} ms`.padStart(9)}\n`);
  }
}

main().catch((error: Error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
