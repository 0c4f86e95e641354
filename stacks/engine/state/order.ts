import type { ResourceRecord } from "../types.js";

/** Everything a record stands on: parent, provider, dependencies, deletedWith. */
export function needs(record: ResourceRecord): string[] {
  const provider = record.provider?.split("::").slice(0, -1).join("::");
  const byProperty = Object.values(record.propertyDependencies ?? {}).flat();
  return [...new Set([record.parent, provider, ...(record.dependencies ?? []), ...byProperty, record.deletedWith].filter((urn): urn is string => urn !== undefined && urn !== ""))];
}

/** Stable: each record after what it stands on (else the CLI refuses the state); of one URN the living one first. */
export function ordered<T extends ResourceRecord>(records: readonly T[]): T[] {
  const byUrn = new Map<string, T[]>();
  for (const record of records) byUrn.set(record.urn, [...(byUrn.get(record.urn) ?? []), record]);
  const done = new Set<T>();
  const result: T[] = [];
  const visit = (record: T): void => {
    if (done.has(record)) return;
    done.add(record);
    for (const urn of needs(record)) for (const below of byUrn.get(urn) ?? []) if (below.urn !== record.urn) visit(below);
    result.push(record);
  };
  for (const record of records) visit(record);
  return result;
}

/** References to resources that are no longer there are dropped: a state with dangling ones is refused by the CLI. */
export function withoutDangling(records: readonly ResourceRecord[]): ResourceRecord[] {
  const known = new Set(records.map((record) => record.urn));
  const keep = (urns: readonly string[]): string[] => urns.filter((urn) => known.has(urn));
  return records.map((record) => {
    if (needs(record).every((urn) => known.has(urn))) return record;
    const clean = { ...record };
    if (clean.parent !== undefined && !known.has(clean.parent)) delete clean.parent;
    if (clean.deletedWith !== undefined && !known.has(clean.deletedWith)) delete clean.deletedWith;
    if (clean.dependencies !== undefined) clean.dependencies = keep(clean.dependencies);
    if (clean.propertyDependencies !== undefined) clean.propertyDependencies = Object.fromEntries(Object.entries(clean.propertyDependencies).map(([key, urns]) => [key, keep(urns)]));
    return clean;
  });
}
