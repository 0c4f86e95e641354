import { HcError } from "../lib/errors.js";
import type { Dataset, Snapshot } from "./zfs.js";
import { userPrefix } from "./commands.js";

/** Readers of `zfs get -Hp` output: one tab-separated line a value. Values may hold tabs (JSON of a user property). */

function* rows(output: string, columns: number): Generator<string[]> {
  for (const line of output.split("\n")) {
    if (line === "") continue;
    const cells = line.split("\t");
    if (cells.length < columns) throw new HcError("INTERNAL", `zfs printed ${JSON.stringify(line.slice(0, 200))}, not ${columns} columns.`);
    yield cells;
  }
}
const unset = (value: string | undefined): string => (value === undefined || value === "-" ? "" : value);

/** Output of `zfsCommands.datasets`: name, property, value (which may hold tabs), source. */
export function parseDatasets(output: string): Dataset[] {
  const seen = new Map<string, { values: Map<string, string>; user: Record<string, string> }>();
  for (const cells of rows(output, 4)) {
    const [name, property] = cells as [string, string];
    const value = cells.slice(2, -1).join("\t");
    const source = cells.at(-1) as string;
    const entry: { values: Map<string, string>; user: Record<string, string> } = seen.get(name) ?? { values: new Map(), user: {} };
    seen.set(name, entry);
    if (!property.startsWith(userPrefix)) entry.values.set(property, value);
    else if (source === "local" || source === "received") entry.user[property.slice(userPrefix.length)] = value;
  }
  return [...seen].map(([name, { values, user }]) => ({
    name,
    guid: unset(values.get("guid")),
    origin: unset(values.get("origin")),
    mounted: values.get("mounted") === "yes",
    mountpoint: unset(values.get("mountpoint")),
    readonly: values.get("readonly") === "on",
    usedBytes: digits(name, "used", values.get("used")),
    referencedBytes: digits(name, "referenced", values.get("referenced")),
    availableBytes: digits(name, "available", values.get("available")),
    quotaBytes: digits(name, "quota", values.get("quota")),
    user,
  }));
}

function digits(name: string, property: string, value: string | undefined): string {
  if (value === undefined || value === "-" || value === "none") return "0";
  if (!/^[0-9]+$/.test(value)) throw new HcError("INTERNAL", `zfs says ${property}=${JSON.stringify(value)} of ${name}: not a number; was -p lost?`);
  return value;
}

/** Output of `zfsCommands.snapshots` and `.allSnapshots`: dataset → snapshots, oldest first by createtxg. A node has thousands of them, so no line is split that need not be. */
export function parseSnapshots(output: string): Map<string, Snapshot[]> {
  const values = new Map<string, Partial<Record<string, string>>>();
  let last = "";
  let entry: Partial<Record<string, string>> = {};
  for (let from = 0; from < output.length; ) {
    const end = output.indexOf("\n", from);
    const to = end < 0 ? output.length : end;
    const first = output.indexOf("\t", from);
    const second = first < 0 ? -1 : output.indexOf("\t", first + 1);
    if (to > from) {
      if (second < 0 || second > to) throw new HcError("INTERNAL", `zfs printed ${JSON.stringify(output.slice(from, Math.min(to, from + 200)))}, not 3 columns.`);
      // the properties of a snapshot come one after the other
      if (first - from !== last.length || !output.startsWith(last, from)) {
        last = output.slice(from, first);
        entry = values.get(last) ?? {};
        if (last.includes("@")) values.set(last, entry);
      }
      const third = output.indexOf("\t", second + 1);
      entry[output.slice(first + 1, second)] = output.slice(second + 1, third < 0 || third > to ? to : third);
    }
    from = to + 1;
  }
  const result = new Map<string, Snapshot[]>();
  for (const [full, { guid, createtxg, creation, userrefs }] of values) {
    const at = full.indexOf("@");
    const dataset = full.slice(0, at);
    const list = result.get(dataset) ?? [];
    if (list.length === 0) result.set(dataset, list);
    list.push({ name: full.slice(at + 1), guid: digits(full, "guid", guid), createtxg: digits(full, "createtxg", createtxg), atMs: Number(digits(full, "creation", creation)) * 1000, userrefs: Number(digits(full, "userrefs", userrefs)) });
  }
  for (const list of result.values()) list.sort((a, b) => compareDecimal(a.createtxg, b.createtxg));
  return result;
}

/** Output of `zfsCommands.look`, by dataset: each one's own lines, and its snapshots' without their source. Children that were not asked for are there too, without snapshots. */
export function parseLooks(output: string): Map<string, { dataset: Dataset; snapshots: Snapshot[] }> {
  const [own, others]: [string[], string[]] = [[], []];
  for (const line of output.split("\n")) {
    const [tab, at] = [line.indexOf("\t"), line.indexOf("@")];
    (at >= 0 && at < tab ? others : own).push(line);
  }
  const snapshots = parseSnapshots(others.join("\n"));
  return new Map(parseDatasets(own.join("\n")).map((dataset) => [dataset.name, { dataset, snapshots: snapshots.get(dataset.name) ?? [] }]));
}

/** Output of `zfsCommands.written`: dataset → bytes. A dataset for which zfs has no number ("-") counts as unchanged. */
export function parseWritten(output: string): Map<string, string> {
  const result = new Map<string, string>();
  for (const [name, value] of rows(output, 2) as Iterable<[string, string]>) if (!name.includes("@")) result.set(name, digits(name, "written", value));
  return result;
}

/** Output of `zfsCommands.holds`: snapshot → tags. */
export function parseHolds(output: string): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const [snapshot, tag] of rows(output, 3) as Iterable<[string, string, string]>) result.set(snapshot, [...(result.get(snapshot) ?? []), tag]);
  return result;
}

/** Output of `zfsCommands.partials`: dataset → token. */
export function parseTokens(output: string): Map<string, string> {
  return new Map([...(rows(output, 2) as Iterable<[string, string]>)].filter(([, token]) => token !== "-" && token !== ""));
}

/** Output of `zfsCommands.readToken`: what the token holds, as the lines of a list of names and values. */
export function parseToken(output: string): { snapshot: string; guid: string } {
  const value = (name: string): string => new RegExp(`^\\s*${name} = (.+)$`, "m").exec(output)?.[1]?.trim() ?? "";
  const [guid, snapshot] = [value("toguid"), value("toname")];
  if (!/^0x[0-9a-f]+$/.test(guid) || !snapshot.includes("@")) throw new HcError("INTERNAL", `zfs told of a resume token ${JSON.stringify(output.slice(0, 300))}, without the snapshot that it is for.`);
  return { snapshot, guid: BigInt(guid).toString() };
}

/** Order of two unsigned 64-bit numbers in decimal text. */
export function compareDecimal(a: string, b: string): number {
  return a.length === b.length ? (a < b ? -1 : a > b ? 1 : 0) : a.length - b.length;
}

/** Output of `zfsCommands.mounted`: name, blanks, mount point (which may hold blanks). */
export function parseMounted(output: string): Map<string, string> {
  return new Map(output.split("\n").flatMap((line) => {
    const [, name, mountpoint] = /^(\S+)\s+(\/.*)$/.exec(line) ?? [];
    return name === undefined || mountpoint === undefined ? [] : [[name, mountpoint] as const];
  }));
}
