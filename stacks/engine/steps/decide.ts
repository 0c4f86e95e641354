import type { DiffAnswer } from "../process/provider.js";
import type { PropertyDiff } from "../types.js";

export interface Decision {
  op: "same" | "create" | "update" | "replace";
  /** the old one goes first */
  deleteFirst: boolean;
  /** only for `replace`: the old one is gone already */
  alreadyDeleted: boolean;
  diff: PropertyDiff[];
}

export interface Known {
  /** of the old resource */
  pendingReplacement: boolean;
  /** half-made by an earlier run, or its update was cut off */
  needsRepair: boolean;
  /** something that it is bound to is replaced */
  forcedReplace: boolean;
  replaceOnChanges: readonly string[];
  deleteBeforeReplace: boolean | undefined;
}

/** Pure: what becomes of an existing resource. `differing(replaces)` are the inputs that differ. */
export function decide(answer: DiffAnswer, known: Known, differing: (replaces: readonly string[]) => PropertyDiff[]): Decision {
  let replaces = answer.replaces;
  // like the CLI: replaceOnChanges counts only where the engine itself compares
  if (answer.changes === undefined && known.replaceOnChanges.length > 0) {
    const roots = known.replaceOnChanges.map((path) => path.split(/[.[]/)[0] ?? "");
    replaces = [...replaces, ...differing([]).map((item) => item.key).filter((key) => roots.includes(key) || roots.includes("*"))];
  }
  const diff = differing(replaces);
  const changes = answer.changes ?? (diff.length > 0 || replaces.length > 0);
  const deleteFirst = known.deleteBeforeReplace ?? answer.deleteBeforeReplace;
  if (known.pendingReplacement) return { op: "replace", deleteFirst: true, alreadyDeleted: true, diff };
  if (known.forcedReplace || (changes && replaces.length > 0)) return { op: "replace", deleteFirst, alreadyDeleted: false, diff };
  if (changes || known.needsRepair) return { op: "update", deleteFirst: false, alreadyDeleted: false, diff };
  return { op: "same", deleteFirst: false, alreadyDeleted: false, diff: [] };
}
