import type { Properties, Value } from "../types.js";
import { isObject, isSecret, secretMark, secretOf, signature, some, unwrap } from "../values.js";
import type { Crypter } from "./passphrase.js";

/** Secrets as they lie in the state: `{4dab…: 1b47…, ciphertext}` of the JSON text. */
export function seal(value: Value, crypter: Crypter): Value {
  if (Array.isArray(value)) return value.map((item) => seal(item, crypter));
  if (!isObject(value)) return value;
  if (isSecret(value)) return { [signature]: secretMark, ciphertext: crypter.encrypt(JSON.stringify(unwrap(value.value))) };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, seal(item, crypter)]));
}

export function unseal(value: Value, crypter: Crypter): Value {
  if (Array.isArray(value)) return value.map((item) => unseal(item, crypter));
  if (!isObject(value)) return value;
  if (value[signature] === secretMark) {
    const text = value["ciphertext"];
    return secretOf(typeof text === "string" ? (JSON.parse(crypter.decrypt(text)) as Value) : (value["plaintext"] !== undefined ? (JSON.parse(value["plaintext"] as string) as Value) : (value["value"] ?? null)));
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unseal(item, crypter)]));
}

const changed = (properties: Properties | undefined, act: (value: Value) => Value): Properties | undefined => (properties === undefined ? undefined : (act(properties) as Properties));
export function mapProperties<T extends { inputs?: Properties; outputs?: Properties }>(record: T, act: (value: Value) => Value): T {
  const inputs = changed(record.inputs, act);
  const outputs = changed(record.outputs, act);
  return { ...record, ...(inputs && { inputs }), ...(outputs && { outputs }) };
}

export const hasSealed = (record: { inputs?: Properties; outputs?: Properties }): boolean => [record.inputs, record.outputs].some((properties) => some(properties, (value) => isObject(value) && value[signature] === secretMark && "ciphertext" in value));
