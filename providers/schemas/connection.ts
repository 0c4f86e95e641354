import { nameSchema } from "../../daemon/lib/schema.js";
import type { NodePaths } from "../../daemon/lib/node-config.js";

/** How a host is reached over SSH. The private key stays where it is: only its path, or the agent. */
export interface Connection {
  node: string;
  address: string;
  port: number;
  user: string;
  /** "ssh-ed25519 AAAA…", pinned. */
  hostKey: string;
  /** None: the SSH agent ($SSH_AUTH_SOCK). */
  privateKeyPath?: string;
  paths: NodePaths;
}

export const hostKeyPattern = "^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$";
const text = { type: "string", minLength: 1, maxLength: 1024 } as const;
export const pathsSchema = {
  type: "object", additionalProperties: false, required: ["etc", "state", "run", "log", "lib", "data"],
  properties: { etc: text, state: text, run: text, log: text, lib: text, data: text },
} as const;
export const connectionSchema = {
  type: "object", additionalProperties: false, required: ["node", "address", "port", "user", "hostKey", "paths"],
  properties: { node: nameSchema, address: text, port: { type: "integer", minimum: 1, maximum: 65535 }, user: text, hostKey: { type: "string", pattern: hostKeyPattern }, privateKeyPath: text, paths: pathsSchema },
} as const;
