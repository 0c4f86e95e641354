import { devicesOf, type Vdev, type ZfsPoolInputs, poolDataset } from "../../schemas/zfs-pool.js";

/** What a look at the host has shown of the pool. */
export interface PoolFacts {
  exists: boolean;
  /** It can be imported (exported, or its disks were moved here). */
  importable: boolean;
  /** Devices of the pool as `zpool status -P` names them. */
  devices: string[];
  /** All datasets with the mark `hybridcluster:pool` set on them. */
  datasets: { name: string; mark: string; unit: boolean }[];
  /** The ZFS has the pool property `compatibility`. */
  compatibilityKnown: boolean;
  /** Files among the wanted vdevs that exist. */
  files: string[];
}
export type PoolStep =
  | { kind: "import" }
  | { kind: "make-file"; path: string; size: string }
  | { kind: "create"; argv: string[] }
  | { kind: "add"; argv: string[] }
  | { kind: "create-dataset"; argv: string[] }
  | { kind: "mark"; argv: string[] };
export type PoolPlan = { refused: { code: "ALREADY_EXISTS" | "IMPOSSIBLE_CHANGE"; reason: string } } | { steps: PoolStep[] };

/** Importable by OpenZFS 2.1 of both systems (zpool-features(7), compatibility). */
export const portable = "openzfs-2.1-freebsd,openzfs-2.1-linux";
export const markProperty = "hybridcluster:pool";
const vdevArgv = (vdev: Vdev): string[] => ("disk" in vdev || "file" in vdev ? devicesOf(vdev) : [Object.keys(vdev)[0] as string, ...devicesOf(vdev)]);
/** "ada1", "/dev/ada1" and "/dev/disk/by-id/x" → comparable. Partitions stay what they are: two of one disk, or gpt/zp1 and gpt/zp2, are two devices. */
const short = (device: string): string => device.replace(/^\/dev\/(disk\/[a-z-]+\/)?/, "");
/** Of a whole disk zpool names partition 1 on Linux, which it made itself; the disk on FreeBSD. */
const holds = (present: ReadonlySet<string>, device: string): boolean => ["", /[0-9]$/.test(device) ? "p1" : "1", "-part1"].some((part) => present.has(`${device}${part}`));

/** Pure: wishes and facts → commands in order, or the reason why it cannot be. Nothing is ever destroyed here. */
export function planPool(inputs: ZfsPoolInputs, facts: PoolFacts, mountpoint: string): PoolPlan {
  const { pool } = inputs;
  const dataset = poolDataset(inputs);
  const steps: PoolStep[] = [];
  const mark = facts.datasets.find((item) => item.name === dataset)?.mark ?? "";
  const present = new Set(facts.devices.map(short));
  const fileSteps = (vdevs: readonly Vdev[]): PoolStep[] => vdevs.flatMap((vdev) => ("file" in vdev && vdev.size !== undefined && !facts.files.includes(vdev.file) ? [{ kind: "make-file" as const, path: vdev.file, size: vdev.size }] : []));
  const createArgv = (): string[] => ["zfs", "create", "-p", ...(facts.compatibilityKnown ? ["-o", "compression=on", "-o", "xattr=sa"] : []), "-o", `mountpoint=${mountpoint}`, "-o", "atime=off", "-o", `${markProperty}=${inputs.name}`, dataset];
  if (!facts.exists && facts.importable) {
    if (!inputs.adopt) return { refused: { code: "ALREADY_EXISTS", reason: `pool ${pool} lies exported on the disks of this host; say \`adopt: true\` to take it over with its data` } };
    return { steps: [{ kind: "import" }] }; // looked at again afterwards
  }
  if (!facts.exists) {
    if (inputs.adopt) return { refused: { code: "IMPOSSIBLE_CHANGE", reason: `adopt: there is no pool ${pool} on this host` } };
    if (inputs.vdevs.length === 0) return { refused: { code: "IMPOSSIBLE_CHANGE", reason: "vdevs: a new pool needs at least one" } };
    const compatibility = inputs.compatibility !== "" ? inputs.compatibility : facts.compatibilityKnown ? portable : "";
    const options = Object.entries({ ...(compatibility === "" ? {} : { compatibility }), ...inputs.properties }).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    // no -f: disks that hold something are refused by zpool itself
    steps.push(...fileSteps(inputs.vdevs), { kind: "create", argv: ["zpool", "create", ...options, "-m", "none", pool, ...inputs.vdevs.flatMap(vdevArgv)] }, { kind: "create-dataset", argv: createArgv() });
    return { steps };
  }
  if (mark !== "" && mark !== inputs.name) return { refused: { code: "ALREADY_EXISTS", reason: `${dataset} belongs to ZfsPool ${mark}; give another \`pool\` or \`under\`` } };
  const wantedDevices = inputs.vdevs.flatMap(devicesOf).map(short);
  const untouched = facts.datasets.length <= 1 && wantedDevices.length > 0 && wantedDevices.every((device) => holds(present, device)) && present.size === wantedDevices.length;
  if (mark === "" && !inputs.adopt && !untouched) return { refused: { code: "ALREADY_EXISTS", reason: `pool ${pool} exists and is not ours; say \`adopt: true\` to live under ${dataset} of it` } };
  for (const vdev of inputs.vdevs) {
    const devices = devicesOf(vdev).map(short);
    const here = devices.filter((device) => holds(present, device));
    if (here.length === devices.length) continue;
    if (here.length > 0) return { refused: { code: "IMPOSSIBLE_CHANGE", reason: `vdevs: ${JSON.stringify(vdev)} has ${here.join(", ")} in the pool already, but not ${devices.filter((device) => !holds(present, device)).join(", ")}; a vdev cannot be changed, only whole vdevs can be added` } };
    steps.push(...fileSteps([vdev]), { kind: "add", argv: ["zpool", "add", pool, ...vdevArgv(vdev)] });
  }
  if (!facts.datasets.some((item) => item.name === dataset)) steps.push({ kind: "create-dataset", argv: createArgv() });
  else if (mark === "") steps.push({ kind: "mark", argv: ["zfs", "set", `${markProperty}=${inputs.name}`, dataset] });
  return { steps };
}

/** Vdevs that the state has and the program has no longer: a pool cannot shrink. */
export function lostVdevs(olds: readonly Vdev[], news: readonly Vdev[]): Vdev[] {
  const kept = new Set(news.map((vdev) => JSON.stringify(vdev)));
  const same = (vdev: Vdev): boolean => kept.has(JSON.stringify(vdev)) || ("file" in vdev && news.some((other) => "file" in other && other.file === vdev.file));
  return olds.filter((vdev) => !same(vdev));
}
