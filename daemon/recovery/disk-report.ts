import { localEpoch } from "../agent/epochs.js";
import { isUnitName } from "../agent/names.js";
import type { DesiredDocument } from "../lib/documents.js";
import type { SnapshotInfo, UnitRecord } from "../lib/records.js";
import { readDefinition, readUnitConfig, type UnitConfig } from "../lib/unit-config.js";
import type { Dataset, Snapshot } from "../zfs/zfs.js";

/** What a disk holds of one unit: enough to bring it back (configuration in the data). */
export interface DiskUnit {
  unit: string;
  dataset: string;
  /** Highest of its own property and of its snapshots' names. */
  epoch: number;
  /** Who was its home when this was written down, "" = not said. */
  home: string;
  /** "live", or how far it came: "new", "populated"; "" = not said (a copy that was received). */
  state: string;
  mounted: boolean;
  usedBytes: string;
  snapshots: number;
  /** Newest of all, whoever made it. */
  last: SnapshotInfo | null;
  /** Revision of etcd at which its definition was written; of that etcd. */
  revision: string;
  document: DesiredDocument<"site"> | null;
  config: UnitConfig | null;
  /** What the dataset is a clone of, by this pool's own snapshots; its config's where it is none. */
  from: UnitRecord["origin"] | null;
}
export interface DiskReport { version: 1; node: string; /** Recoveries of etcd that this node knows of: a report from before the newest is none. */ lineage: number; units: DiskUnit[] }

/** Pure: what `datasets` and `snapshots` below `root` say, by unit. Only what bears our property. */
export function diskUnits(root: string, datasets: readonly Dataset[], snapshots: ReadonlyMap<string, readonly Snapshot[]>): DiskUnit[] {
  return datasets.flatMap((dataset): DiskUnit[] => {
    const name = dataset.name.slice(root.length + 1);
    if (!dataset.name.startsWith(`${root}/`) || !isUnitName(name) || dataset.user["unit"] !== name) return [];
    const own = (snapshots.get(dataset.name) ?? []).map(({ name: snapshot, guid, createtxg, atMs }): SnapshotInfo => ({ name: snapshot, guid, createtxg, atMs }));
    const config = readUnitConfig(dataset.user["config"]) ?? null;
    return [{
      unit: name, dataset: dataset.name, home: dataset.user["home"] ?? "", state: dataset.user["state"] ?? "", mounted: dataset.mounted, usedBytes: dataset.usedBytes,
      epoch: localEpoch({ dataset: dataset.name, mounted: dataset.mounted, readonly: dataset.readonly, quotaBytes: "0", usedBytes: "0", user: dataset.user, snapshots: own }),
      snapshots: own.length, last: own.at(-1) ?? null, revision: dataset.user["revision"] ?? "0",
      document: definitionOf(dataset.user["definition"], name), config, from: originOf(root, dataset.origin, snapshots) ?? config?.from ?? null,
    }];
  });
}
function definitionOf(text: string | undefined, unit: string): DesiredDocument<"site"> | null {
  const document = readDefinition(text);
  return document !== undefined && `site-${document.name}` === unit ? document : null;
}
function originOf(root: string, origin: string, snapshots: ReadonlyMap<string, readonly Snapshot[]>): UnitRecord["origin"] | undefined {
  const [dataset = "", version = ""] = origin.split("@");
  if (!dataset.startsWith(`${root}/tmpl-`)) return undefined;
  const guid = snapshots.get(dataset)?.find(({ name }) => name === version)?.guid;
  return guid === undefined ? undefined : { template: dataset.slice(root.length + 6), version, guid };
}
