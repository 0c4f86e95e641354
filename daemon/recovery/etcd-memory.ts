import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import type { RecoveryRecord } from "../lib/records.js";
import type { EtcdPoint } from "../state/etcd-store.js";

/** What a node remembers of its cluster's etcd, over restarts: etcd's own id, how far it was, and how often its history was broken so far (OWNERSHIP 13). */
export interface EtcdMemory extends EtcdPoint { version: 1; /** Of our cluster: a node that changes clusters begins anew. */ clusterId: string; lineage: number; /** Own session generation: a backup knows an earlier one. */ generation: number }

/** Pure: does this etcd go on where the memory ends? "" = yes, else why not, for people. */
export function brokenBecause(memory: EtcdMemory | undefined, seen: EtcdPoint, record: RecoveryRecord | undefined): string {
  const lineage = record?.lineage ?? 0;
  if (memory === undefined || lineage > memory.lineage) return "";
  // one that runs asks all disks anyway
  if (lineage === memory.lineage && record?.state === "recovering") return "";
  if (lineage < memory.lineage) return `etcd knows ${lineage} recoveries of this cluster, there were ${memory.lineage}: it was restored from a backup`;
  if (seen.etcdCluster !== memory.etcdCluster) return `etcd is another one (cluster id ${seen.etcdCluster}, it was ${memory.etcdCluster}): it was begun anew, or restored from a backup`;
  if (BigInt(seen.revision) < BigInt(memory.revision)) return `etcd is at revision ${seen.revision} and was at ${memory.revision}: it was restored from a backup`;
  return "";
}

/** Pure: of several memories of one cluster the one that knows most; of those of one lineage and etcd that is the highest revision. */
export function furthest(memories: readonly (EtcdMemory | undefined)[], own: EtcdMemory | undefined): EtcdMemory | undefined {
  return memories.reduce((best, one) => {
    if (one === undefined || (own !== undefined && one.clusterId !== own.clusterId)) return best;
    if (best === undefined || one.lineage > best.lineage) return one;
    return one.lineage === best.lineage && one.etcdCluster === best.etcdCluster && BigInt(one.revision) > BigInt(best.revision) ? one : best;
  }, own);
}

/** Pure: may be anything: a peer's answer, or a file. */
export function readMemory(value: unknown, clusterId: string): EtcdMemory | undefined {
  const one = value as Partial<EtcdMemory> | null | undefined;
  const decimal = (text: unknown): boolean => typeof text === "string" && /^[0-9]{1,20}$/.test(text);
  const count = (number: unknown): boolean => typeof number === "number" && Number.isSafeInteger(number) && number >= 0;
  if (one?.version !== 1 || one.clusterId !== clusterId || !decimal(one.etcdCluster) || !decimal(one.revision) || !count(one.lineage) || !count(one.generation)) return undefined;
  return one as EtcdMemory;
}

/** `<state>/etcd-memory.json`. One that cannot be read counts as none: a node without memory takes part, and the others' counts. */
export class MemoryFile {
  public constructor(private readonly path: string, private readonly clusterId: string) {}
  public async read(): Promise<EtcdMemory | undefined> {
    const text = await readFileIfAny(this.path);
    try {
      return text === undefined ? undefined : readMemory(JSON.parse(text), this.clusterId);
    } catch {
      return undefined;
    }
  }
  public async write(memory: EtcdMemory): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true });
    await writeFileAtomic(this.path, JSON.stringify(memory), { mode: 0o600 });
  }
}
export const memoryPath = (state: string): string => `${state}/etcd-memory.json`;
