import { chmod, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { utils } from "ssh2";
import { readFileIfAny, writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import { HcError } from "../../daemon/lib/errors.js";

/** Chance that none of so many is good: 1 in 10^22. */
const mostKeys = 10;

/** An Ed25519 key pair: the private key in OpenSSH's format, the public one as "ssh-ed25519 AAAA…". */
export interface SshKey {
  privateKey: string;
  publicKey: string;
}

/** A new pair that can be read back. Of ssh2's (1.17) own Ed25519 keys about one in 180 cannot ("Malformed OpenSSH private key", measured: 17 of 3,000), so each is tried. */
export function makeKey(comment: string, generate: (comment: string) => { private: string; public: string } = (text) => utils.generateKeyPairSync("ed25519", { comment: text })): SshKey {
  for (let attempt = 1; attempt <= mostKeys; attempt += 1) {
    const pair = generate(comment);
    const publicKey = withoutComment(pair.public);
    const read = utils.parseKey(pair.private);
    const key = Array.isArray(read) ? read[0] : read;
    if (key !== undefined && !(key instanceof Error) && `${key.type} ${key.getPublicSSH().toString("base64")}` === publicKey) return { privateKey: pair.private, publicKey };
  }
  throw new HcError("INTERNAL", `ssh2 made ${mostKeys} keys one after the other that it cannot read.`);
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
