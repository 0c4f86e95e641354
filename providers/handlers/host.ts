import { until } from "../../daemon/lib/backoff.js";
import { HcError, errorCode, messageOf } from "../../daemon/lib/errors.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { progress } from "../core/progress.js";
import { connectionOf, type HostInputs, type HostOutputs, hostSchema, withHostDefaults } from "../schemas/host.js";
import { apiCall } from "../ssh/api-client.js";
import { SshRunner } from "../ssh/ssh-runner.js";
import { applyHost, revertHost, switchArtefact } from "./host/apply-host.js";
import { withLease } from "./host/lease.js";
import { probeHost } from "./host/probe.js";
import { describeStep, planHost } from "./host/plan-host.js";

interface Version { version: string; sha256: string; node: string; clustered: boolean }
/** Upgrades go one host after the other, each gated on the health of the one before. */
let upgradeTurn: Promise<unknown> = Promise.resolve();

/** Hosts that the operator has declared dead: deleting them is success without a look (`HC_DEAD_HOSTS=n1,n2`). */
const declaredDead = (name: string): boolean => (process.env["HC_DEAD_HOSTS"] ?? "").split(",").includes(name);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

async function waitForDaemon(inputs: HostInputs): Promise<Version> {
  const connections = [connectionOf(inputs)];
  return until(`hcd on ${inputs.name}`, { withinMs: 60_000, firstMs: 50, capMs: 500 }, async () => {
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
    await until(`${inputs.name} to be ready`, { withinMs: 120_000, firstMs: 100, capMs: 1000 }, async () => {
      const seen = await apiCall<{ ready: boolean; reasons: string[] }>(connections, "GET", "/v1/ready", undefined, { timeoutMs: 10_000 });
      reasons = seen.reasons;
      return seen.ready ? true : undefined;
    });
  } catch (error) {
    throw new HcError("NOT_READY", `Host ${inputs.name} did not become ready: ${reasons.join("; ") || messageOf(error)}`, { cause: error });
  }
}

async function converge(inputs: HostInputs): Promise<void> {
  const runner = new SshRunner(connectionOf(inputs));
  await withLease(runner, inputs.platform, async () => {
    const { facts } = await applyHost(runner, inputs);
    const upgrade = facts.current !== "" && facts.current !== inputs.hcd.sha256;
    try {
      const seen = await waitForDaemon(inputs);
      if (seen.clustered) await waitReady(inputs);
    } catch (error) {
      if (!upgrade) throw error;
      progress("Host", inputs.name, `the new daemon does not become ready; back to ${facts.current.slice(0, 12)}`);
      await switchArtefact(runner, inputs.paths.lib, facts.current);
      await runner.run(inputs.platform === "freebsd" ? ["service", "hcd", "restart"] : ["systemctl", "restart", "hcd.service"], { timeoutMs: 60_000 });
      throw error;
    }
  });
}

async function create(inputs: HostInputs): Promise<{ id: string; outs: HostOutputs }> {
  const full = withHostDefaults(inputs);
  try {
    await converge(full);
  } catch (error) {
    const code = errorCode(error);
    // before anything was changed there is nothing to keep
    if (code !== undefined && ["PORT_IN_USE", "PATH_IN_USE", "UNSUPPORTED", "ALREADY_EXISTS", "UNREACHABLE", "HOST_KEY_MISMATCH", "AUTHENTICATION_FAILED", "LOCKED"].includes(code)) throw error;
    throw new PartialError(messageOf(error), full.name, full);
  }
  return { id: full.name, outs: full };
}

export const hostHandler: Handler<HostInputs, HostOutputs> = {
  check: async (_olds, news) => {
    const inputs = structuredClone(news);
    const failures = validate(hostSchema, inputs);
    return { inputs: failures.length > 0 ? inputs : withHostDefaults(inputs), failures };
  },
  diff: async (_id, olds, news) => {
    const fields = ["name", "address", "addresses", "port", "user", "hostKey", "privateKeyPath", "platform", "zone", "role", "ports", "paths", "hcd", "runtime"] as const;
    const changed = fields.filter((field) => holdsUnknown(news[field]) || !same(olds[field], news[field]));
    const replaces = changed.filter((field) => field === "name" || field === "platform" || field === "paths");
    return { changes: changed.length > 0, replaces, deleteBeforeReplace: true };
  },
  create,
  update: async (_id, olds, news) => {
    const full = withHostDefaults(news);
    if (same(olds.hcd, full.hcd)) return { outs: (await create(full)).outs };
    const turn = upgradeTurn.catch(() => undefined).then(() => create(full));
    upgradeTurn = turn;
    return { outs: (await turn).outs };
  },
  read: async (id, props) => {
    const facts = await probeHost(new SshRunner(connectionOf(props)), props);
    if (facts.manifest === undefined) return { id: "", props };
    return { id, props: { ...props, hcd: facts.current === props.hcd.sha256 ? props.hcd : { ...props.hcd, sha256: facts.current || "0".repeat(64) } } };
  },
  delete: async (_id, props) => {
    if (declaredDead(props.name)) return;
    const runner = new SshRunner(connectionOf(props));
    await withLease(runner, props.platform, () => revertHost(runner, props));
  },
};

/** What bootstrap would do to a machine, for `hc doctor --plan`. Changes nothing. */
export async function planForPeople(inputs: HostInputs): Promise<{ ok: boolean; lines: string[] }> {
  const full = withHostDefaults(inputs);
  const plan = planHost(full, await probeHost(new SshRunner(connectionOf(full)), full));
  if (plan.conflicts.length > 0) return { ok: false, lines: plan.conflicts.map((item) => `${item.code} ${item.property}: ${item.reason}`) };
  const ports = Object.entries(full.ports).map(([name, port]) => `${name} ${port}`).join(", ");
  return { ok: true, lines: [...plan.steps.map(describeStep), `ports that will be used: ${ports}`, "deleting the Host takes all of this back; what was there before stays"] };
}
