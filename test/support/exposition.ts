export interface Series { name: string; type: string; help: string; labels: Record<string, string>; value: number }

/**
 * Reads Prometheus' text format 0.0.4 as strictly as its page says (https://prometheus.io/docs/instrumenting/exposition_formats/): HELP and TYPE once, before the first sample of their name; the samples of
 * a name in one group; no series twice. Throws with the line.
 */
export function parseExposition(text: string): Series[] {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const found: Series[] = [];
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  const series = new Set<string>();
  const groups: string[] = [];
  const plain = (value: string): string => value.replace(/\\(.)/g, (_all, char: string) => (char === "n" ? "\n" : char));
  for (const line of text.split("\n").slice(0, -1)) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line);
    if (meta !== null) {
      const [, kind, name, rest] = meta as unknown as [string, string, string, string];
      const into = kind === "HELP" ? helps : types;
      if (into.has(name)) fail("said twice");
      if (groups.includes(name)) fail("said after its samples");
      if (kind === "TYPE" && !["counter", "gauge", "histogram"].includes(rest)) fail("no type that we use");
      into.set(name, rest);
      continue;
    }
    if (line.startsWith("#")) continue;
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)$/.exec(line) ?? fail("no sample");
    const [, name = "", inner = "", value = ""] = sample as unknown as string[];
    const labels: Record<string, string> = {};
    const pattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
    while (pattern.lastIndex < inner.length) {
      const match = pattern.exec(inner) ?? fail("no labels");
      if (match[1]! in labels) fail("a label twice");
      labels[match[1]!] = plain(match[2]!);
    }
    const base = name.replace(/_(?:bucket|sum|count)$/, "");
    const family = types.get(base) === "histogram" ? base : name;
    const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (series.has(key)) fail("a series twice");
    series.add(key);
    if (groups.at(-1) !== family) {
      if (groups.includes(family)) fail("not in one group");
      groups.push(family);
    }
    found.push({ name, type: types.get(family) ?? fail("no TYPE"), help: helps.get(family) ?? fail("no HELP"), labels, value: Number(value) });
  }
  return found;
}
