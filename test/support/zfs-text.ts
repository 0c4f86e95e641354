import type { CommandOptions, CommandResult, CommandRunner } from "../../daemon/lib/command.js";
import { userPrefix } from "../../daemon/zfs/commands.js";
import type { FakeZfs } from "../../daemon/zfs/fake-zfs.js";
import type { Dataset, Snapshot } from "../../daemon/zfs/zfs.js";

/**
 * The zfs command line over a FakeZfs, as text: so the real reader of the daemon has the work that it has on a node. Counts commands and their output, and the time that is spent in here: that is the work
 * of other processes on a real node.
 */
export class ZfsText implements CommandRunner {
  public readonly commands = new Map<string, number>();
  public outputBytes = 0;
  public spentMs = 0;
  public constructor(private readonly zfs: FakeZfs, private readonly pool = "hpool") {}

  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const stdout = await this.answer(argv, options);
    this.outputBytes += stdout.length;
    const kind = argv[0] === "zfs" ? `zfs ${argv[1]}${argv[1] === "get" ? ` ${what(argv)}` : ""}` : argv.slice(0, 2).join(" ");
    this.commands.set(kind, (this.commands.get(kind) ?? 0) + 1);
    return { code: 0, signal: null, stdout, stderr: "", durationMs: 1 };
  }

  /** The fake does its work before its first await: many commands at once are not counted twice. */
  private spent<T>(act: () => T): T {
    const began = process.cpuUsage();
    try {
      return act();
    } finally {
      const { user, system } = process.cpuUsage(began);
      this.spentMs += (user + system) / 1000;
    }
  }

  private async answer(argv: readonly string[], options: CommandOptions): Promise<string> {
    const [program, command] = argv;
    const names = operands(argv);
    const name = names.at(-1) as string;
    if (program === "zpool") return "ONLINE\n";
    if (program !== "zfs") return "";
    switch (command) {
      case "get": {
        if (name === this.pool) return "used\t1000\navailable\t1000000\nguid\t1\n";
        const read = async <T>(asked: () => Promise<T>, text: (seen: T) => string): Promise<string> => {
          const seen = await this.spent(asked);
          return this.spent(() => text(seen));
        };
        switch (what(argv)) {
          case "written": return read(() => this.zfs.written(name), (seen) => [...seen].map(([dataset, bytes]) => `${dataset}\t${bytes}\n`).join(""));
          case "datasets": return read(() => this.zfs.datasets(name), (seen) => seen.map(datasetText).join(""));
          case "all snapshots": return read(() => this.zfs.allSnapshots(name), (seen) => [...seen].map(([dataset, list]) => list.map((one) => snapshotText(dataset, one)).join("")).join(""));
          case "snapshots": return (await Promise.all(names.map((one) => read(() => this.zfs.snapshots(one), (seen) => seen.map((each) => snapshotText(one, each)).join(""))))).join("");
          case "look at": {
            const by = new Map<string, string[]>();
            for (const one of names) {
              const [of = "", snapshot] = one.split("@");
              by.set(of, [...(by.get(of) ?? []), ...(snapshot === undefined ? [] : [snapshot])]);
            }
            return (await Promise.all([...by].map(([of, snapshots]) => read(() => this.zfs.lookAt(of, snapshots), (seen) => datasetText(seen.dataset) + seen.snapshots.map((each) => snapshotText(of, each)).join(""))))).join("");
          }
          case "look": return (await Promise.all(names.map((one) => read(() => this.zfs.look(one), (seen) => (seen === undefined ? "" : datasetText(seen.dataset) + seen.snapshots.map((each) => snapshotText(one, each)).join("")))))).join("");
          default: throw new Error(`not known here: ${argv.join(" ")}`);
        }
      }
      case "snapshot": await this.spent(() => this.zfs.snapshot(names)); return "";
      case "hold": case "release": {
        const [tag = "", ...snapshots] = names;
        for (const snapshot of snapshots) await this.spent(() => this.zfs[command](tag, snapshot));
        return "";
      }
      case "set": {
        const [setting = "", ...datasets] = names;
        const [property = "", ...value] = setting.split("=");
        for (const dataset of datasets) await this.zfs.set(dataset, { [property]: value.join("=") });
        return "";
      }
      case "mount":
        if (argv.length > 2) await this.zfs.mount(name);
        return "";
      case "destroy": await this.zfs.destroy(name); return "";
      case "send": options.output?.write(Buffer.alloc(600)); return "";
      case "version": return "zfs-fuse 0.7.0\n"; // cannot receive in parts
      default: throw new Error(`not known here: ${argv.join(" ")}`);
    }
  }
}

/** What stands behind a command's options (and, of `get`, behind its properties). One call may name many. */
function operands([program, command, ...rest]: readonly string[]): string[] {
  if (program !== "zfs") return [];
  let at = 0;
  for (; rest[at]?.startsWith("-") === true; at += 1) if (/^-[a-zA-Z]*[dtoi]$/.test(rest[at] as string)) at += 1;
  return rest.slice(command === "get" ? at + 1 : at);
}
function what(argv: readonly string[]): string {
  const types = argv[argv.indexOf("-t") + 1] ?? "";
  if (argv.includes("written")) return "written";
  if (!argv.includes("-t")) return argv.some((word) => word.startsWith("guid,")) ? "look at" : "properties";
  if (types === "snapshot") return argv[argv.indexOf("-d") + 1] === "1" ? "snapshots" : "all snapshots";
  return types === "filesystem" ? "datasets" : "look";
}
function datasetText(dataset: Dataset): string {
  const { name, user } = dataset;
  const lines: [string, string][] = [["guid", dataset.guid], ["origin", dataset.origin === "" ? "-" : dataset.origin], ["mounted", dataset.mounted ? "yes" : "no"], ["mountpoint", dataset.mountpoint], ["readonly", dataset.readonly ? "on" : "off"], ["used", dataset.usedBytes], ["referenced", dataset.referencedBytes], ["available", dataset.availableBytes], ["quota", dataset.quotaBytes]];
  return [...lines, ...Object.entries(user).map(([key, value]) => [userPrefix + key, value] as const)].map(([property, value]) => `${name}\t${property}\t${value}\tlocal\n`).join("");
}
const snapshotText = (dataset: string, { name, guid, createtxg, atMs, userrefs }: Snapshot): string => [["guid", guid], ["createtxg", createtxg], ["creation", String(Math.floor(atMs / 1000))], ["userrefs", String(userrefs)]].map(([property, value]) => `${dataset}@${name}\t${property}\t${value}\t-\n`).join("");
