import { chmod, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { utils } from "ssh2";
import { readFileIfAny, writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import { HcError } from "../../daemon/lib/errors.js";

/** An Ed25519 key pair: the private key in OpenSSH's format, the public one as "ssh-ed25519 AAAA…". */
export interface SshKey {
  privateKey: string;
  publicKey: string;
}

export function makeKey(comment: string): SshKey {
  const pair = utils.generateKeyPairSync("ed25519", { comment });
  return { privateKey: pair.private, publicKey: withoutComment(pair.public) };
}

export function withoutComment(publicKey: string): string {
  return publicKey.trim().split(" ").slice(0, 2).join(" ");
}

/** The public half of an OpenSSH private key file. */
export function publicHalf(privateKey: string, path: string): string {
  const parsed = utils.parseKey(privateKey);
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key === undefined || key instanceof Error) throw new HcError("INVALID_INPUT", `${path} is not an SSH private key; remove it, a new one is made then.`, { cause: key });
  return `${key.type} ${key.getPublicSSH().toString("base64")}`;
}

/** The operator's key at `path` (0600), made once. The caller holds a lock. Returns the public half. */
export async function ensureKey(path: string): Promise<string> {
  const present = await readFileIfAny(path);
  if (present !== undefined) return publicHalf(present, path);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const key = makeKey("hybridcluster-lab");
  await writeFileAtomic(path, key.privateKey, { mode: 0o600 });
  await chmod(path, 0o600);
  return key.publicKey;
}
