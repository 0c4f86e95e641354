/** Makes a value fit for gRPC's Struct: no undefined, no bigint, dates as text. Arrays keep their length. */
export function sanitize(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value === undefined) return null;
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(sanitize);
  if (typeof value === "object" && value !== null) {
    const entries = value instanceof Map ? [...value.entries()] : Object.entries(value);
    return Object.fromEntries(entries.filter(([, item]) => item !== undefined && typeof item !== "function").map(([key, item]) => [String(key), sanitize(item)]));
  }
  return value;
}
