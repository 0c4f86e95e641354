import { chmod, mkdir, rm } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import type { CommandRunner } from "../lib/command.js";
import { HcError } from "../lib/errors.js";
import { type ClusterConfig, clusterConfigFile, type HostConfig, type Identity } from "../lib/node-config.js";
import { failuresText, validate } from "../lib/schema.js";
import { identitySchema } from "./identity-schema.js";

const proxyUser = "_hcproxy";
/** Identity's texts and their files; those of the proxy are readable by its user, all others by root only. */
const files = { ca: "ca.crt", nodeCert: "node.crt", nodeKey: "node.key", edgeCa: "edge-ca.crt", proxyCert: "proxy.crt", proxyKey: "proxy.key", sealKey: "seal.key" } as const;
const forProxy = new Set<keyof typeof files>(["edgeCa", "proxyCert", "proxyKey"]);

export async function readClusterConfig(host: HostConfig): Promise<ClusterConfig | undefined> {
  const text = await readFileIfAny(clusterConfigFile(host.paths));
  if (text === undefined) return undefined;
  const config = JSON.parse(text) as ClusterConfig;
  if (config.version !== 1) throw new HcError("UNSUPPORTED", `${clusterConfigFile(host.paths)} has version ${String(config.version)}; this hcd reads 1.`);
  return config;
}

export async function readPki(host: HostConfig): Promise<Identity["pki"]> {
  const read = async (name: keyof typeof files): Promise<string> => {
    const text = await readFileIfAny(`${host.paths.etc}/pki/${files[name]}`);
    if (text === undefined) throw new HcError("NOT_FOUND", `${host.paths.etc}/pki/${files[name]} is missing; run \`hc up\`, which hands the identity over again.`);
    return text;
  };
  const sealKey = await readFileIfAny(`${host.paths.etc}/pki/${files.sealKey}`);
  return { ca: await read("ca"), nodeCert: await read("nodeCert"), nodeKey: await read("nodeKey"), edgeCa: await read("edgeCa"), proxyCert: await read("proxyCert"), proxyKey: await read("proxyKey"), ...(sealKey === undefined ? {} : { sealKey }) };
}

/** Checks shape and sense of `PUT /v1/identity`. Throws INVALID_INPUT (bad or for another node), CONFLICT (another cluster's). */
export function checkIdentity(value: unknown, host: HostConfig, present: ClusterConfig | undefined): Identity {
  const failures = validate(identitySchema, value);
  if (failures.length > 0) throw new HcError("INVALID_INPUT", `identity: ${failuresText(failures)}`);
  const identity = value as Identity;
  const { config } = identity;
  if (config.node !== host.node) throw new HcError("INVALID_INPUT", `identity: config.node: ${JSON.stringify(config.node)} is not this node (${host.node}).`);
  if (!config.members.some((member) => member.node === host.node)) throw new HcError("INVALID_INPUT", `identity: config.members: ${host.node} is not among them.`);
  const unknown = config.voters.find((voter) => !config.members.some((member) => member.node === voter));
  if (unknown !== undefined) throw new HcError("INVALID_INPUT", `identity: config.voters: ${unknown} is no member.`);
  if (present !== undefined && present.clusterId !== config.clusterId)
    throw new HcError("CONFLICT", `${host.node} belongs to the cluster ${present.cluster} (${present.clusterId}); take it out of that one first.`, { retry: "never" });
  return identity;
}

/** Writes keys first and the configuration last, so that a crash in between leaves no cluster.json without its keys. True when something changed. */
export async function writeIdentity(host: HostConfig, identity: Identity, runner: CommandRunner): Promise<boolean> {
  const folder = `${host.paths.etc}/pki`;
  await mkdir(folder, { recursive: true });
  await chmod(host.paths.etc, 0o711); // the proxy's user must be able to reach its own files, and to list nothing
  await chmod(folder, 0o711);
  const owner = await idOf(runner, proxyUser);
  let changed = false;
  for (const name of Object.keys(files) as (keyof typeof files)[]) {
    const path = `${folder}/${files[name]}`;
    const text = identity.pki[name];
    // an identity of a version before has no seal key: one that is here stays
    if (text === undefined || (await readFileIfAny(path)) === text) continue;
    await writeFileAtomic(path, text, forProxy.has(name) && owner !== undefined ? { mode: 0o400, ...owner } : { mode: 0o600 });
    changed = true;
  }
  const text = `${JSON.stringify(identity.config, undefined, 2)}\n`;
  if ((await readFileIfAny(clusterConfigFile(host.paths))) === text) return changed;
  await writeFileAtomic(clusterConfigFile(host.paths), text, { mode: 0o600 });
  return true;
}

/** The configuration goes first: without it hcd starts nothing. */
export async function removeIdentity(host: HostConfig): Promise<void> {
  await rm(clusterConfigFile(host.paths), { force: true });
  await rm(`${host.paths.etc}/pki`, { recursive: true, force: true });
}

async function idOf(runner: CommandRunner, user: string): Promise<{ uid: number; gid: number } | undefined> {
  const uid = await runner.run(["id", "-u", user], { timeoutMs: 5000 });
  const gid = await runner.run(["id", "-g", user], { timeoutMs: 5000 });
  return uid.code === 0 && gid.code === 0 ? { uid: Number(uid.stdout.trim()), gid: Number(gid.stdout.trim()) } : undefined;
}
export const proxyIds = (runner: CommandRunner): Promise<{ uid: number; gid: number } | undefined> => idOf(runner, proxyUser);
