/** Snapshot names `<epoch>-<yyyymmddThhmmss.mmmZ>-<node>`: for people; order comes from createtxg and epoch lineage, never from a name. */
export interface SnapshotName { epoch: number; atMs: number; node: string }

export function makeSnapshotName(epoch: number, atMs: number, node: string): string {
  return `${epoch}-${new Date(atMs).toISOString().replace(/[-:]/g, "")}-${node}`;
}

/** Undefined for a name that we did not make (a person's snapshot, a template's version). */
export function parseSnapshotName(name: string): SnapshotName | undefined {
  const match = /^([0-9]{1,15})-([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2}\.[0-9]{3})Z-([a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)$/.exec(name);
  if (match === null) return undefined;
  const [, epoch, year, month, day, hour, minute, second, node] = match;
  const atMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(atMs) ? undefined : { epoch: Number(epoch), atMs, node: node as string };
}
