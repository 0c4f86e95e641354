import { createCipheriv, createDecipheriv, pbkdf2, pbkdf2Sync, randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { HcError } from "../../../daemon/lib/errors.js";

/** Pulumi's passphrase provider: PBKDF2-HMAC-SHA256 of an 8-byte salt, AES-256-GCM, texts `v1:<nonce>:<ciphertext and tag>`. */
const rounds = 1_000_000;
const keyBytes = 32;
const saltBytes = 8;
const nonceBytes = 12;
const tagBytes = 16;
const checkText = "pulumi";

export interface Crypter {
  /** `v1:<salt>:<check>`: goes to Pulumi.<stack>.yaml and into the state */
  readonly salt: string;
  encrypt(clear: string): string;
  decrypt(text: string): string;
}

const crypterOf = async (passphrase: string, salt: Buffer): Promise<Omit<Crypter, "salt">> => withKey(await promisify(pbkdf2)(passphrase, salt, rounds, keyBytes, "sha256"));

function withKey(key: Buffer): Omit<Crypter, "salt"> {
  return {
    encrypt: (clear) => {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const body = Buffer.concat([cipher.update(clear, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1:${nonce.toString("base64")}:${body.toString("base64")}`;
    },
    decrypt: (text) => {
      const [version, nonce, body] = text.split(":");
      if (version !== "v1" || nonce === undefined || body === undefined) throw new HcError("INVALID_INPUT", "An encrypted value has an unknown form; it should start with v1:.");
      const bytes = Buffer.from(body, "base64");
      const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      return Buffer.concat([decipher.update(bytes.subarray(0, -tagBytes)), decipher.final()]).toString("utf8");
    },
  };
}

/** A new salt for `passphrase`. */
export async function createCrypter(passphrase: string): Promise<Crypter> {
  const salt = randomBytes(saltBytes);
  const crypter = await crypterOf(passphrase, salt);
  return { ...crypter, salt: `v1:${salt.toString("base64")}:${crypter.encrypt(checkText)}` };
}

function saltOf(state: string): Buffer {
  const [version, salt] = state.split(":");
  if (version !== "v1" || salt === undefined) throw new HcError("INVALID_INPUT", "encryptionsalt has an unknown form; it should be v1:<salt>:<check>.");
  return Buffer.from(salt, "base64");
}

function checked(crypter: Omit<Crypter, "salt">, state: string): Crypter {
  let clear: string | undefined;
  try {
    clear = crypter.decrypt(state.split(":").slice(2).join(":"));
  } catch {
    // a wrong key fails the authentication tag
  }
  if (clear !== checkText) throw new HcError("INVALID_INPUT", "The passphrase is not the one that this stack was made with; check PULUMI_CONFIG_PASSPHRASE, PULUMI_CONFIG_PASSPHRASE_FILE or the workspace's file passphrase.");
  return { ...crypter, salt: state };
}

/** Throws INVALID_INPUT when the passphrase is not the one that `state` (`v1:<salt>:<check>`) was made with. */
export const openCrypter = async (passphrase: string, state: string): Promise<Crypter> => checked(await crypterOf(passphrase, saltOf(state)), state);
/** The same, for readers that have nothing else to do meanwhile. */
export const openCrypterSync = (passphrase: string, state: string): Crypter => checked(withKey(pbkdf2Sync(passphrase, saltOf(state), rounds, keyBytes, "sha256")), state);
