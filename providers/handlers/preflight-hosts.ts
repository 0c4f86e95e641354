import { withDeadline } from "../../daemon/lib/abort.js";
import { errorCode, messageOf } from "../../daemon/lib/errors.js";
import { connectionOf, type HostInputs, withHostDefaults } from "../schemas/host.js";
import { SshRunner } from "../ssh/ssh-runner.js";
import { ownTexts } from "./host/own-texts.js";
import { planHost } from "./host/plan-host.js";
import { probeHost } from "./host/probe.js";
import type { PreflightFailure } from "./preflight-sites.js";

/** A Host that the plan creates or changes, with inputs that are all known. */
export interface PlannedHost { resource: string; inputs: HostInputs }

const lookMs = 15_000;
const propertyOf: Readonly<Record<string, string>> = { UNREACHABLE: "address", TIMEOUT: "address", HOST_KEY_MISMATCH: "hostKey", AUTHENTICATION_FAILED: "privateKeyPath" };

async function lookAt({ resource, inputs }: PlannedHost): Promise<PreflightFailure[]> {
  const full = withHostDefaults(inputs);
  try {
    const facts = await withDeadline(lookMs, `a look at ${full.address}`, (signal) => probeHost(new SshRunner(connectionOf(full)), full, signal));
    return planHost(full, facts, ownTexts(full)).conflicts.map(({ property, reason }) => ({ resource, property, reason }));
  } catch (error) {
    return [{ resource, property: propertyOf[errorCode(error) ?? ""] ?? "address", reason: messageOf(error) }];
  }
}

/** One bounded SSH call a host: reachable, the pinned key, ports and paths free, a system that is known. Changes nothing, throws nothing. */
export async function preflightHosts(hosts: readonly PlannedHost[]): Promise<PreflightFailure[]> {
  return (await Promise.all(hosts.map(lookAt))).flat();
}
