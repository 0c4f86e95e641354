import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Client, type ConnectConfig } from "ssh2";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { isAbsentLab, isLabKey } from "./lab-address.js";
import type { Connection } from "../schemas/connection.js";

/** What is needed of a Connection to open it. */
export type SshTarget = Pick<Connection, "address" | "port" | "user" | "hostKey" | "privateKeyPath">;
const readyMs = 8_000;
/** Channels side by side on one connection; sshd's default MaxSessions is 10. */
const channelsPerHost = 6;

export const fingerprint = (key: Buffer): string => `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;

class Pooled {
  private free = channelsPerHost;
  private readonly queue: (() => void)[] = [];
  /** Why the connection is over, "" while it is not. */
  public ended = "";
  public constructor(public readonly client: Client) {}
  /** Takes a channel's place; waits while all are used. */
  public async place(): Promise<() => void> {
    if (this.free === 0) await new Promise<void>((resolve) => this.queue.push(resolve));
    else this.free -= 1;
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const next = this.queue.shift();
      if (next === undefined) this.free += 1;
      else next();
    };
  }
}

const open = new Map<string, Promise<Pooled>>();
const dialing = new Set<Client>();
const keyOf = (target: SshTarget): string => JSON.stringify([target.address, target.port, target.user, target.hostKey, target.privateKeyPath ?? ""]);

/** The connection to a host, made once and shared; a broken one is made again at the next call. Throws UNREACHABLE, HOST_KEY_MISMATCH, AUTHENTICATION_FAILED. */
export function connectionTo(target: SshTarget): Promise<Pooled> {
  const key = keyOf(target);
  const present = open.get(key);
  if (present !== undefined) return present;
  // a late word of an old connection must not put a new one out of the table
  const forget = (): void => {
    if (open.get(key) === made) open.delete(key);
  };
  const made: Promise<Pooled> = dial(target, () => forget());
  open.set(key, made);
  made.catch(forget);
  return made;
}

async function dial(target: SshTarget, onGone: () => void): Promise<Pooled> {
  const name = `${target.user}@${target.address}:${target.port}`;
  if (isLabKey(target.privateKeyPath) && isAbsentLab(target.address)) throw new HcError("UNREACHABLE", `${name} is a node of a lab on this machine whose network is not up. Start it: npm start, or hc lab start NODE.`);
  const [type = "", blob = ""] = target.hostKey.split(" ");
  const pinned = Buffer.from(blob, "base64");
  let shown: Buffer | undefined;
  const config: ConnectConfig = {
    host: target.address, port: target.port, username: target.user, readyTimeout: readyMs, keepaliveInterval: 3_000, keepaliveCountMax: 3,
    // one kind of key, so that the machine shows the pinned one; an RSA key signs by newer names too (RFC 8332)
    algorithms: { serverHostKey: type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"] : [type as "ssh-ed25519"] },
    hostVerifier: (key: Buffer) => {
      shown = key;
      return key.equals(pinned);
    },
  };
  if (target.privateKeyPath !== undefined) {
    try {
      config.privateKey = readFileSync(target.privateKeyPath);
    } catch (cause) {
      throw new HcError("AUTHENTICATION_FAILED", `${name}: the private key ${target.privateKeyPath} cannot be read: ${messageOf(cause)}`, { cause });
    }
  } else if (process.env["SSH_AUTH_SOCK"]) config.agent = process.env["SSH_AUTH_SOCK"];
  else throw new HcError("AUTHENTICATION_FAILED", `${name}: there is no SSH agent ($SSH_AUTH_SOCK) and no privateKeyPath; start an agent with your key, or name the key's file.`);
  return new Promise((resolve, reject) => {
    const client = new Client();
    let pooled: Pooled | undefined;
    dialing.add(client);
    client.on("ready", () => {
      dialing.delete(client);
      pooled = new Pooled(client);
      resolve(pooled);
    });
    client.on("error", (error: Error & { level?: string }) => {
      onGone();
      dialing.delete(client);
      if (pooled !== undefined) {
        pooled.ended ||= error.message; // running channels end with their own errors
        return;
      }
      client.end();
      if (shown !== undefined && !shown.equals(pinned))
        reject(new HcError("HOST_KEY_MISMATCH", `${name}: hostKey: the machine shows ${fingerprint(shown)}, pinned is ${fingerprint(pinned)}. If it was installed anew on purpose, pin its new key; else somebody is in between.`));
      else if (error.level === "client-authentication") reject(new HcError("AUTHENTICATION_FAILED", `${name}: the machine refused the key. Put its public half into the user's authorized_keys.`, { cause: error }));
      else if (/no matching host key/i.test(error.message)) reject(new HcError("HOST_KEY_MISMATCH", `${name}: hostKey: the machine has no key of the pinned type ${type}.`, { cause: error }));
      else reject(new HcError("UNREACHABLE", `${name}: ${error.message}. Check address, port and that the machine runs.`, { cause: error }));
    });
    client.on("close", () => {
      onGone();
      dialing.delete(client);
      if (pooled !== undefined) pooled.ended ||= "the machine closed it";
      else reject(new HcError("UNREACHABLE", `${name}: the machine closed the connection.`));
    });
    try {
      client.connect(config);
    } catch (cause) {
      reject(new HcError("AUTHENTICATION_FAILED", `${name}: the private key ${target.privateKeyPath ?? "of the agent"} cannot be used: ${messageOf(cause)}. One with a passphrase goes by the SSH agent.`, { cause }));
    }
  });
}

/** Ends all connections, also those that are still being made; called at the end of a command. What does not say goodbye within a second is cut. */
export async function closeConnections(): Promise<void> {
  for (const client of dialing) client.destroy();
  const all = [...open.values()];
  open.clear();
  await Promise.all(all.map(async (each) => {
    const client = (await each.catch(() => undefined))?.client;
    if (client === undefined) return;
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    client.end();
    const timer = setTimeout(() => client.destroy(), 1_000);
    await closed;
    clearTimeout(timer);
  }));
}
