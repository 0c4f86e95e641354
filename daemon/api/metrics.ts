import { metricTable } from "./metric-table.js";

export interface Sample { name: string; labels: Readonly<Record<string, string>>; value: number }

const escapeLabel = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
const table: Readonly<Record<string, readonly ["gauge" | "counter", string]>> = metricTable;

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
  for (const [name, series] of [...byName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [type, help] = table[name] ?? [name.endsWith("_total") ? "counter" : "gauge", ""];
    if (help !== "") lines.push(`# HELP ${name} ${escapeHelp(help)}`);
    lines.push(`# TYPE ${name} ${type}`);
    for (const [key, value] of series) lines.push(`${key} ${value}`);
  }
  return `${lines.join("\n")}\n`;
}
