import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from "node:crypto";
import { HcError } from "./errors.js";

/**
 * Secrets of documents as they lie in etcd: AES-256-GCM under the cluster's seal key, which every node has on its own disk (`pki/seal.key`, 0600) and etcd has not.
 * The nonce is made from key, place and text (a synthetic IV, cf. RFC 8452 §1), so that the same secret gives the same text and a document that says the same is the same;
 * the place is authenticated, so that a sealed text says nothing at another place.
 */
const prefix = "sealed:1:";
export interface Sealer { seal(place: string, text: string): string; /** Throws UNSUPPORTED, naming the place and never the text. */ open(place: string, text: string): string }
export const isSealed = (text: string): boolean => text.startsWith(prefix);

/** `key`: base64 of 32 bytes. */
export function createSealer(key: string): Sealer {
  const bytes = Buffer.from(key, "base64");
  if (bytes.length !== 32) throw new HcError("INVALID_INPUT", `The seal key has ${bytes.length} bytes; it needs 32.`);
  const derive = (what: string): Buffer => Buffer.from(hkdfSync("sha256", bytes, Buffer.alloc(0), `hybridcluster ${what} 1`, 32));
  const cipherKey = derive("seal");
  const nonceKey = derive("seal nonce");
  const open: Sealer["open"] = (place, text) => {
    try {
      const data = Buffer.from(text.slice(prefix.length), "base64");
      const decipher = createDecipheriv("aes-256-gcm", cipherKey, data.subarray(0, 12), { authTagLength: 16 }).setAAD(Buffer.from(place)).setAuthTag(data.subarray(12, 28));
      if (!isSealed(text)) throw new Error("not sealed");
      return Buffer.concat([decipher.update(data.subarray(28)), decipher.final()]).toString("utf8");
    } catch {
      throw new HcError("UNSUPPORTED", `${place}: cannot be opened with this cluster's key; give the secret again (\`hc up\`).`);
    }
  };
  return {
    open,
    seal: (place, text) => {
      // what was read from the API may be put back as it was
      if (isSealed(text)) return open(place, text) === "" ? "" : text;
      const nonce = createHmac("sha256", nonceKey).update(place).update("\0").update(text).digest().subarray(0, 12);
      const cipher = createCipheriv("aes-256-gcm", cipherKey, nonce, { authTagLength: 16 }).setAAD(Buffer.from(place));
      const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
      return `${prefix}${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64")}`;
    },
  };
}
