import { metricTable } from "./metric-table.js";

export interface Sample { name: string; labels: Readonly<Record<string, string>>; value: number }

const escapeLabel = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const table: Readonly<Record<string, readonly ["gauge" | "counter" | "histogram", string]>> = metricTable;
/** The name that HELP and TYPE have: a histogram's series are called after their parts. */
const familyOf = (name: string): string => {
  const base = name.replace(/_(?:bucket|sum|count)$/, "");
  return table[base]?.[0] === "histogram" ? base : name;
};

/**
 * Pure: Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/): HELP and TYPE once a name, its samples together. Samples of the same name and labels (of several
 * proxy workers) are added up, since a series may stand there once.
 */
export function metricsText(samples: readonly Sample[]): string {
  const byName = new Map<string, Map<string, number>>();
  for (const { name, labels, value } of samples) {
    const inner = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, text]) => `${key}="${escapeLabel(text)}"`).join(",");
    const series = byName.get(name) ?? new Map<string, number>();
    byName.set(name, series);
    const key = inner === "" ? name : `${name}{${inner}}`;
    series.set(key, (series.get(key) ?? 0) + (Number.isFinite(value) ? value : 0));
  }
  const lines: string[] = [];
  let before = "";
  for (const [name, series] of [...byName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const family = familyOf(name);
    const [type, help] = table[family] ?? [name.endsWith("_total") ? "counter" : "gauge", ""];
    if (family !== before) {
      if (help !== "") lines.push(`# HELP ${family} ${escapeHelp(help)}`);
      lines.push(`# TYPE ${family} ${type}`);
    }
    before = family;
    for (const [key, value] of series) lines.push(`${key} ${value}`);
  }
  return `${lines.join("\n")}\n`;
}
