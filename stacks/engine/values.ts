import type { Properties, Value } from "./types.js";

/** Marks of Pulumi's wire format (sdk: runtime/rpc.ts): `signature` names the kind of a special object. */
export const signature = "4dabf18193072939515e22adb298388d";
export const secretMark = "1b47061264138c4ac30d75fd1eb44270";
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export const isObject = (value: unknown): value is Record<string, Value> => typeof value === "object" && value !== null && !Array.isArray(value);
export const isSecret = (value: unknown): value is { value: Value } => isObject(value) && value[signature] === secretMark;
export const secretOf = (value: Value): Value => (isSecret(value) ? value : { [signature]: secretMark, value: unwrap(value) });

/** The value in clear, without any mark. */
export function unwrap<T extends Value>(value: T): T;
export function unwrap(value: Value): Value {
  if (Array.isArray(value)) return value.map((item) => unwrap(item));
  if (!isObject(value)) return value;
  if (isSecret(value)) return unwrap(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unwrap(item)]));
}

export function some(value: Value | undefined, test: (value: Value) => boolean): boolean {
  if (value === undefined) return false;
  if (test(value)) return true;
  if (Array.isArray(value)) return value.some((item) => some(item, test));
  return isObject(value) && Object.values(value).some((item) => some(item, test));
}
export const hasUnknown = (value: Value | undefined): boolean => some(value, (item) => item === unknownValue);
export const hasSecret = (value: Value | undefined): boolean => some(value, (item) => isSecret(item));

/** Marks in `plain` what is marked at the same place in `marked` (the provider process knows no secrets). */
export function remark(plain: Value, marked: Value | undefined): Value {
  if (marked === undefined) return plain;
  if (isSecret(marked)) return secretOf(plain);
  if (Array.isArray(plain) && Array.isArray(marked)) return plain.length === marked.length ? plain.map((item, index) => remark(item, marked[index])) : hasSecret(marked) ? secretOf(plain) : plain;
  if (!isObject(plain) || !isObject(marked)) return plain;
  return Object.fromEntries(Object.entries(plain).map(([key, item]) => [key, remark(item, marked[key])]));
}

export function remarkProperties(plain: Properties, marked: Properties, additional: readonly string[] = []): Properties {
  const result = remark(plain, marked) as Properties;
  for (const key of additional) if (result[key] !== undefined) result[key] = secretOf(result[key] as Value);
  return result;
}

/** For people: secrets are "[secret]", unknowns "[unknown]", serialized providers are left out. */
export function display(value: Value | undefined): Value | undefined {
  if (value === undefined) return undefined;
  if (isSecret(value)) return "[secret]";
  if (value === unknownValue) return "[unknown]";
  if (Array.isArray(value)) return value.map((item) => display(item) ?? null);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "__provider").map(([key, item]) => [key, display(item) ?? null]));
}

/** Equality of JSON values; the order of keys does not matter, a secret equals its clear value. */
export function same(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a === null || b === null) return false;
  if (isSecret(a)) return same(a.value, b);
  if (isSecret(b)) return same(a, b.value);
  if (Array.isArray(a) || Array.isArray(b)) return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, index) => same(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b && same(a[key], b[key]));
}
