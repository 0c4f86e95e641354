import type { Properties, PropertyDiff, Value } from "../types.js";
import { display, hasSecret, isSecret, same } from "../values.js";

const hidden = "__provider";

/** What differs between two sets of properties, for people: secrets are not shown. */
export function propertyDiff(olds: Properties, news: Properties, replaces: readonly string[] = []): PropertyDiff[] {
  const result: PropertyDiff[] = [];
  for (const key of [...new Set([...Object.keys(olds), ...Object.keys(news)])].sort()) {
    if (key === hidden || same(olds[key], news[key])) continue;
    const kind = olds[key] === undefined ? "add" : news[key] === undefined ? "delete" : "update";
    // a property that is secret on one side is not shown on the other
    const secret = isSecret(olds[key]) || isSecret(news[key]) || (hasSecret(olds[key]) !== hasSecret(news[key]));
    const show = (value: Value | undefined): Value | undefined => (value === undefined ? undefined : secret ? "[secret]" : display(value));
    const old = show(olds[key]);
    const now = show(news[key]);
    result.push({ key, kind, ...(old !== undefined && { old }), ...(now !== undefined && { new: now }), forcesReplacement: replaces.includes(key) });
  }
  return result;
}

/** Of an update: what the program changed; without such a change, what the living thing has other than wanted (drift). */
export function updateDiff(old: { inputs?: Properties; outputs?: Properties }, news: Properties, replaces: readonly string[]): PropertyDiff[] {
  const wished = propertyDiff(old.inputs ?? {}, news, replaces);
  if (wished.length > 0) return wished;
  const outputs = old.outputs ?? {};
  const echoed = Object.fromEntries(Object.keys(news).filter((key) => key in outputs).map((key) => [key, outputs[key] as Value]));
  return propertyDiff(echoed, Object.fromEntries(Object.keys(echoed).map((key) => [key, news[key] as Value])), replaces);
}

/** `a.b[0]["c"]` → keys. */
export function parsePath(path: string): (string | number)[] {
  return [...path.matchAll(/\["([^"]*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, quoted, index, name]) => (index !== undefined ? Number(index) : (quoted ?? name ?? "")));
}

function valueAt(value: Value | undefined, path: readonly (string | number)[]): Value | undefined {
  return path.reduce<Value | undefined>((at, key) => (typeof at === "object" && at !== null ? (at as Record<string | number, Value>)[key] : undefined), value);
}

/** `ignoreChanges`: the named places keep what they had. A place that has no parent any more is left out. */
export function withIgnored(olds: Properties, news: Properties, ignore: readonly string[]): Properties {
  if (ignore.length === 0) return news;
  const result = structuredClone(news);
  const paths = ignore.flatMap((path) => (path === "*" ? [...new Set([...Object.keys(olds), ...Object.keys(news)])].map((key) => [key]) : [parsePath(path)]));
  for (const path of paths) {
    const last = path.at(-1);
    const holder = valueAt(result, path.slice(0, -1));
    if (last === undefined || typeof holder !== "object" || holder === null) continue;
    const before = valueAt(olds, path);
    if (before !== undefined) (holder as Record<string | number, Value>)[last] = before;
    else delete (holder as Record<string | number, Value>)[last];
  }
  return result;
}
