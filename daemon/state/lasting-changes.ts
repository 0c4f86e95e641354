import type { ClusterState, View } from "./cluster-state.js";

/** Parts of the picture that each sign of life, and what each node tells of itself every few seconds, replaces. */
export const spoken: ReadonlySet<keyof ClusterState> = new Set(["revision", "sessions", "observedNodes"]);

/** Pure: who lives under which generation, and who was declared dead. */
const standing = ({ sessions }: ClusterState): string => JSON.stringify([...sessions].map(([node, { value }]) => [node, value.generation, value.dead]));

/** Pure: is there more in it than further signs of life? Maps are replaced when they change (apply.ts). */
export const isLasting = (before: ClusterState, after: ClusterState): boolean => {
  const parts = new Set([...Object.keys(before), ...Object.keys(after)] as (keyof ClusterState)[]);
  return [...parts].some((part) => !spoken.has(part) && before[part] !== after[part]) || standing(before) !== standing(after);
};

/** `listener` at each change that is more than that: signs of life alone change the picture several times a second. Returns what ends it. */
export function onLastingChange(view: Pick<View, "onChange">, listener: () => void): () => void {
  let before: ClusterState | undefined;
  return view.onChange((state) => {
    const lasts = before === undefined || isLasting(before, state);
    before = state;
    if (lasts) listener();
  });
}
