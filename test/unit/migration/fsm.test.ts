import { isFinal, moveEvents, moveStates, moveTable, type MoveEvent, type MoveStateName, nextState } from "../../../daemon/migration/fsm.js";

/** Before the hand-over's transaction is sent for the first time. */
const before: MoveStateName[] = ["presync", "announcing", "quieting", "finalizing"];
/** In these the hand-over may have been committed already. */
const doubtful: MoveStateName[] = ["handing-over", "looking", "undoing"];

function reachable(from: MoveStateName): Set<MoveStateName> {
  const seen = new Set<MoveStateName>([from]);
  for (const state of seen) for (const event of moveEvents) {
    const next = moveTable[state][event];
    if (next !== undefined) seen.add(next);
  }
  return seen;
}

describe("table of a move", () => {
  const pairs = moveStates.flatMap((state) => moveEvents.map((event) => [state, event] as const));
  it.each(pairs)("%s × %s", (state, event) => {
    const next = moveTable[state][event];
    if (next === undefined) {
      expect(() => nextState(state, event)).toThrow(/cannot see/);
      return;
    }
    expect(moveStates).toContain(next);
    expect(isFinal(state)).toBe(false);
    // a failure before the hand-over leads to the undo, never straight to the end: only a write of our own may reopen the source
    if (before.includes(state) && event === "error") expect(next).toBe("undoing");
    // nothing but a write that was answered, or the sight of another's, ends an undo
    if (state === "undoing") expect(next).toBe(({ ok: "failed", error: "undoing", unsure: "undoing", lost: "looking", handed: "starting" } as Record<MoveEvent, string>)[event]);
    if (event === "handed") expect(next).toBe("starting");
    // where a write of ours may have lost its compare to one that has nothing to do with the move, the record is looked at
    if (event === "lost" && !["announcing", "handing-over", "undoing"].includes(state)) expect(next).toBe("failed");
    if (event === "lost" && state === "announcing") expect(next).toBe("undoing");
    // a lost answer of the hand-over is never taken for a yes or a no
    if (state === "handing-over" && event === "unsure") expect(next).toBe("looking");
    if (state === "starting") expect(["done", "failed"]).toContain(next);
  });

  it("has no way back to the source after the hand-over", () => {
    const after = reachable("starting");
    for (const state of [...before, ...doubtful]) expect(after.has(state)).toBe(false);
  });
  it("reaches an end from every state", () => {
    for (const state of moveStates) expect([...reachable(state)].some(isFinal)).toBe(true);
  });
  it("does the hand-over only after the last snapshot was confirmed", () => {
    const leading = moveStates.filter((state) => moveEvents.some((event) => moveTable[state][event] === "handing-over"));
    expect(leading).toEqual(["finalizing"]);
  });
});
