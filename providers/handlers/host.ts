import { until } from "../../daemon/lib/backoff.js";
import { HcError, errorCode, messageOf } from "../../daemon/lib/errors.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { progress } from "../core/progress.js";
import { connectionOf, type HostInputs, type HostOutputs, hostSchema, pathFailures, watchdogFailures, withHostDefaults } from "../schemas/host.js";
import { apiCall } from "../ssh/api-client.js";
import { SshRunner } from "../ssh/ssh-runner.js";
import { hostServices } from "./host/own-texts.js";
import { applyHost, startService, stepsFor, switchArtefact } from "./host/apply-host.js";
import { withLease } from "./host/lease.js";
import { ownTexts } from "./host/own-texts.js";
import { describeStep, planHost } from "./host/plan-host.js";
import { probeHost } from "./host/probe.js";
import { revertHost } from "./host/revert-host.js";

interface Version { version: string; sha256: string; node: string; clustered: boolean }
/** Upgrades go one host after the other, each gated on the health of the one before: a host that fails stops those behind it. One process runs all of an up. */
let upgradeTurn: Promise<string | undefined> = Promise.resolve(undefined);
async function upgradeInTurn(inputs: HostInputs): Promise<HostOutputs> {
  const before = upgradeTurn;
  let failed: string | undefined;
  let leave: () => void = () => undefined;
  upgradeTurn = new Promise((resolve) => {
    leave = () => resolve(failed);
  });
  try {
    failed = await before;
    if (failed !== undefined) throw new PartialError(`Host ${inputs.name} was not upgraded, because ${failed} did not become ready with the new daemon. Look there first, then run up again.`, inputs.name, inputs);
    return (await create(inputs)).outs;
  } catch (error) {
    failed ??= inputs.name;
    throw error;
  } finally {
    leave();
  }
}

/** Hosts that the operator has declared dead: deleting them is success without a look (`HC_DEAD_HOSTS=n1,n2`). */
const declaredDead = (name: string): boolean => (process.env["HC_DEAD_HOSTS"] ?? "").split(",").includes(name);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

async function waitForDaemon(inputs: HostInputs): Promise<Version> {
  const connections = [connectionOf(inputs)];
  return until(`hcd on ${inputs.name}`, { withinMs: Math.min(60_000, inputs.timeouts.create * 1000), firstMs: 50, capMs: 500 }, async () => {
    try {
      const seen = await apiCall<Version>(connections, "GET", "/v1/version", undefined, { timeoutMs: 5_000 });
      return seen.sha256 === inputs.hcd.sha256 ? seen : undefined;
    } catch (error) {
      const code = errorCode(error);
      if (code === "UNREACHABLE" || code === "TIMEOUT" || code === "INTERNAL") return undefined; // not up yet
      throw error;
    }
  });
}
async function waitReady(inputs: HostInputs): Promise<void> {
  const connections = [connectionOf(inputs)];
  let reasons: string[] = [];
  try {
    await until(`${inputs.name} to be ready`, { withinMs: Math.min(120_000, inputs.timeouts.create * 1000), firstMs: 100, capMs: 1000 }, async () => {
      const seen = await apiCall<{ ready: boolean; reasons: string[] }>(connections, "GET", "/v1/ready", undefined, { timeoutMs: 10_000 });
      reasons = seen.reasons;
      return seen.ready ? true : undefined;
    });
  } catch (error) {
    throw new HcError("NOT_READY", `Host ${inputs.name} did not become ready: ${reasons.join("; ") || messageOf(error)}`, { cause: error });
  }
}

/** `begin` is called before the first change. */
async function converge(inputs: HostInputs, begin: () => void): Promise<void> {
  const unleased = new SshRunner(connectionOf(inputs));
  if (stepsFor(inputs, await probeHost(unleased, inputs)).length === 0) return;
  await withLease(unleased, inputs.platform, async (runner) => {
    const { facts, steps } = await applyHost(runner, inputs, begin);
    if (steps.length === 0) return;
    const upgrade = facts.current !== "" && facts.current !== inputs.hcd.sha256;
    try {
      const seen = await waitForDaemon(inputs);
      if (seen.clustered) await waitReady(inputs);
    } catch (error) {
      if (!upgrade) throw error;
      progress("Host", inputs.name, `the new daemon does not become ready; back to ${facts.current.slice(0, 12)}`);
      await switchArtefact(runner, inputs, facts.current);
      for (const name of hostServices) await startService(runner, inputs.platform, name, true);
      throw error;
    }
  });
}

async function create(inputs: HostInputs): Promise<{ id: string; outs: HostOutputs }> {
  const full = withHostDefaults(inputs);
  let began = false;
  try {
    await converge(full, () => { began = true; });
  } catch (error) {
    if (!began) throw error; // nothing to keep: no resource
    throw new PartialError(`Host ${full.name}: ${messageOf(error)}`, full.name, full);
  }
  return { id: full.name, outs: full };
}

export const hostHandler: Handler<HostInputs, HostOutputs> = {
  check: async (_olds, news) => {
    const inputs = structuredClone(news);
    const failures = validate(hostSchema, inputs);
    if (failures.length > 0) return { inputs, failures };
    const full = withHostDefaults(inputs);
    return { inputs: full, failures: [...(holdsUnknown(full.paths) ? [] : pathFailures(full)), ...watchdogFailures(full)] };
  },
  diff: async (_id, olds, news) => {
    const fields = ["name", "address", "addresses", "port", "user", "hostKey", "privateKeyPath", "platform", "zone", "role", "ports", "paths", "watchdog", "hcd", "runtime"] as const;
    const changed = fields.filter((field) => holdsUnknown(news[field]) || !same(olds[field], news[field]));
    const replaces = changed.filter((field) => field === "name" || field === "platform" || field === "paths");
    return { changes: changed.length > 0, replaces, deleteBeforeReplace: true };
  },
  create,
  update: async (_id, olds, news) => {
    const full = withHostDefaults(news);
    if (same(olds.hcd, full.hcd)) return { outs: (await create(full)).outs };
    return { outs: await upgradeInTurn(full) };
  },
  read: async (id, props) => {
    const facts = await probeHost(new SshRunner(connectionOf(props)), props);
    if (facts.manifest === undefined || facts.manifest.node !== props.name) return { id: "", props };
    const { conflicts, steps } = planHost(props, facts, ownTexts(props));
    if (conflicts.length === 0 && steps.length === 0) return { id, props };
    // another digest than the program's makes the next up converge
    return { id, props: { ...props, hcd: { ...props.hcd, sha256: facts.current === "" || facts.current === props.hcd.sha256 ? "0".repeat(64) : facts.current } } };
  },
  delete: async (_id, props) => {
    if (declaredDead(props.name)) return;
    await withLease(new SshRunner(connectionOf(props)), props.platform, (runner) => revertHost(runner, props));
  },
};

/** What bootstrap would do to a machine, for `hc doctor --plan`. Changes nothing. */
export async function planForPeople(inputs: HostInputs): Promise<{ ok: boolean; lines: string[] }> {
  const full = withHostDefaults(inputs);
  const plan = planHost(full, await probeHost(new SshRunner(connectionOf(full)), full), ownTexts(full));
  if (plan.conflicts.length > 0) return { ok: false, lines: plan.conflicts.map((item) => `${item.code} ${item.property}: ${item.reason}`) };
  const ports = Object.entries(full.ports).map(([name, port]) => `${name} ${port}`).join(", ");
  return { ok: true, lines: [...(plan.steps.length === 0 ? ["nothing to change: it is as the program says"] : plan.steps.map(describeStep)), `ports that will be used: ${ports}`, "deleting the Host takes all of this back; what was there before stays"] };
}
