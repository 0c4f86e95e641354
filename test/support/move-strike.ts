import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { Writable } from "node:stream";
import type { TestNode } from "./lab.js";
import { movedUnit } from "./move-lab.js";

/** States of a move at which something can die, in their order (daemon/migration/fsm.ts). */
export const struckStates = ["presync", "announcing", "quieting", "finalizing", "handing-over", "starting"] as const;
export type StruckState = (typeof struckStates)[number];

/** Tells each state of the unit's moves as soon as hcd on the node has logged it, until it is stopped or the node dies. */
export class StateFollower {
  public readonly seen: { state: string; atMs: number }[] = [];
  private readonly abort = new AbortController();
  private readonly waiting = new Map<string, () => void>();
  public constructor(node: TestNode) {
    let rest = "";
    const output = new Writable({
      write: (chunk: Buffer, _encoding, callback) => {
        const lines = (rest + chunk.toString("utf8")).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.take(line);
        callback();
      },
    });
    void node.runner.run(["journalctl", "-f", "-n", "0", "-u", "hcd", "-o", "cat", "--no-pager"], { timeoutMs: 600_000, output, signal: this.abort.signal }).catch(() => undefined);
  }
  /** Resolves when the state is reached, or another one that is later. */
  public reached(state: string): Promise<void> {
    return this.seen.some((one) => one.state === state) ? Promise.resolve() : new Promise((resolve) => this.waiting.set(state, resolve));
  }
  /** The state in which the move was at a moment. */
  public at(ms: number): string {
    return this.seen.filter(({ atMs }) => atMs <= ms).at(-1)?.state ?? "presync";
  }
  public stop(): void {
    this.abort.abort();
    for (const call of this.waiting.values()) call();
  }
  private take(line: string): void {
    if (!line.includes('"msg":"move goes on"')) return;
    const { unit, to, time } = JSON.parse(line) as { unit: string; to: string; time: number };
    if (unit !== movedUnit) return;
    this.seen.push({ state: to, atMs: time });
    this.waiting.get(to)?.();
    this.waiting.delete(to);
    if (to === "done" || to === "failed" || to === "undoing") for (const call of this.waiting.values()) call();
  }
}

/** Host pids of a node's processes whose command line fits: looked up before, so that the strike itself takes no time. `init`: the node's first process. */
export function pidsIn(init: number, fits: (argv: string) => boolean): number[] {
  const space = readlinkSync(`/proc/${init}/ns/pid`);
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/ns/pid`) === space && fits(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
    } catch {
      return false; // it has ended
    }
  });
}
export const isControl = (argv: string): boolean => /hcd\.cjs control/.test(argv);
export const isEtcd = (argv: string): boolean => /^\S*\/etcd /.test(argv);
