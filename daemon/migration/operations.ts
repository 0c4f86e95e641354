import { randomBytes } from "node:crypto";
import { HcError } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";

/** Answer of `GET /v1/operations/<id>`. */
export interface Operation { id: string; kind: "move"; unit: string; state: "running" | "done" | "failed"; phase: string; detail: string; error: string; /** Only the source's process that drove it knows. */ numbers?: MoveNumbers }
/** UTC ms at which its requests began to wait and at which the target served; bytes of the last increment. */
export interface MoveNumbers { holdFromMs: number; servedAtMs: number; lastBytes: number }

/** What an id tells: any node can say what became of a move by the id and the record alone. */
export interface MoveId { unit: string; source: string; epoch: number; target: string }

/** `mv.<unit>.<source>.<epoch>.<target>.<random>`; names hold no dots. */
export function makeMoveId(move: MoveId): string {
  return ["mv", move.unit, move.source, String(move.epoch), move.target, randomBytes(4).toString("hex")].join(".");
}
export function parseMoveId(id: string): MoveId {
  const match = /^mv\.([a-z0-9-]+)\.([a-z0-9-]+)\.([0-9]{1,15})\.([a-z0-9-]+)\.[0-9a-f]{8}$/.exec(id);
  if (match === null) throw new HcError("NOT_FOUND", `There is no operation ${JSON.stringify(id.slice(0, 100))}.`);
  return { unit: match[1] as string, source: match[2] as string, epoch: Number(match[3]), target: match[4] as string };
}

/** Pure: the state of a move as its record shows it, for whoever has no memory of it. `serves`: the target serves at the epoch after. */
export function operationOf(id: string, record: UnitRecord | undefined, serves: boolean): Operation {
  const { unit, source, epoch, target } = parseMoveId(id);
  const operation = { id, kind: "move" as const, unit, error: "" };
  if (source === target) return { ...operation, state: "done", phase: "done", detail: `nothing to do: ${unit} is at home on ${target}` };
  if (record === undefined) return { ...operation, state: "failed", phase: "failed", detail: "", error: `${unit} has no record any more: it was deleted.` };
  if (record.move?.id === id) return { ...operation, state: "running", phase: record.move.phase, detail: `${source} → ${target}` };
  if (record.epoch === epoch + 1 && record.home === target) return serves ? { ...operation, state: "done", phase: "done", detail: `at home on ${target}, epoch ${record.epoch}` } : { ...operation, state: "running", phase: "starting", detail: `${target} starts it` };
  if (record.epoch > epoch) return { ...operation, state: "done", phase: "done", detail: `its home changed again since: ${record.home}, epoch ${record.epoch}` };
  return { ...operation, state: "failed", phase: "failed", detail: "", error: `The move was undone; ${unit} is at home on ${record.home}.` };
}

/** The operations that this process runs or has run, bounded. */
export class OperationBook {
  private readonly items = new Map<string, Operation>();
  public constructor(private readonly limit = 200) {}
  public get(id: string): Operation | undefined {
    return this.items.get(id);
  }
  public set(operation: Operation): void {
    this.items.set(operation.id, operation);
    for (const [id, item] of this.items) {
      if (this.items.size <= this.limit) return;
      if (item.state !== "running") this.items.delete(id);
    }
  }
}
