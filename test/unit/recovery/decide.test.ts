import { type Copy, decide, needsLists } from "../../../daemon/recovery/decide.js";
import { copy } from "./fixture.js";

const guid = (letter: string): string => String(letter.charCodeAt(0));

test.each<[string, Copy[], string | undefined, number, string]>([
  ["the home of the highest epoch by its own word, though a copy holds as much", [copy("n1", "3a 3b", { epoch: 3, home: "n1" }), copy("n2", "3a 3b", { epoch: 3, home: "n1" })], "n1", 3, "b"],
  ["a home that came to it and made no snapshot yet goes before a former home with a tail", [copy("n1", "3a 3b 3c", { epoch: 3, home: "n1" }), copy("n2", "3a 3b", { epoch: 4, home: "n2" })], "n2", 4, "b"],
  ["nobody says that it is the home: whoever knows the highest epoch alone", [copy("n1", "3a 3b 3c", { home: "" }), copy("n2", "3a 4d", { home: "" })], "n2", 4, "d"],
  ["nobody says that it is the home: the copy that is ahead", [copy("n2", "3a 3b", { home: "n1" }), copy("n3", "3a 3b 3c", { home: "n1" })], "n3", 3, "c"],
  ["two histories of one epoch: the newest goes on", [copy("n2", "3a 3b", { home: "n1" }), copy("n3", "3a 3x 3c", { home: "n1" })], "n3", 3, "c"],
  ["what was never finished does not count", [copy("n1", "5z", { state: "new", epoch: 5 }), copy("n2", "3a", { home: "n1" })], "n2", 3, "a"],
  ["only a seed of a site: nothing", [copy("n1", "", { state: "populated", epoch: 1 })], undefined, 0, ""],
  ["no copy", [], undefined, 0, ""],
])("%s", (_what, copies, node, epoch, last) => {
  for (const order of [copies, [...copies].reverse()]) {
    const decision = decide(order);
    if (node === undefined) expect(decision).toBeUndefined();
    else expect(decision).toMatchObject({ node, epoch, last: { guid: guid(last) } });
  }
});

test("lists are asked for only where copies of the highest epoch must be compared", () => {
  expect(needsLists([copy("n1", "3a", { home: "n1" }), copy("n2", "3a", { home: "n1" })])).toBe(false);
  expect(needsLists([copy("n2", "3a"), copy("n3", "4a")])).toBe(false);
  expect(needsLists([copy("n2", "3a"), copy("n3", "3a")])).toBe(true);
});
