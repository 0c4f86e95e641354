export interface Sample { name: string; labels: Readonly<Record<string, string>>; value: number }

const escapeLabel = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

/** Pure: Prometheus' text format 0.0.4; one TYPE line a name, counters end in `_total`. */
export function metricsText(samples: readonly Sample[]): string {
  const byName = new Map<string, Sample[]>();
  for (const sample of samples) byName.set(sample.name, [...(byName.get(sample.name) ?? []), sample]);
  const lines: string[] = [];
  for (const [name, group] of [...byName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    lines.push(`# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}`);
    for (const { labels, value } of group) {
      const inner = Object.entries(labels).map(([key, text]) => `${key}="${escapeLabel(text)}"`).join(",");
      lines.push(`${name}${inner === "" ? "" : `{${inner}}`} ${Number.isFinite(value) ? value : 0}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
