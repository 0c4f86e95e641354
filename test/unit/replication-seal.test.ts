import { keepsOut, laterSeal, parseSeal, sealText } from "../../daemon/replication/seal.js";

test("a seal keeps out the owner that was declared dead and all before it, not one that came back or came after", () => {
  const seal = { epoch: 3, generation: 5 };
  expect([{ epoch: 2, generation: 9 }, { epoch: 3, generation: 4 }, { epoch: 3, generation: 5 }].map((owner) => keepsOut(seal, owner))).toEqual([true, true, true]);
  expect([{ epoch: 3, generation: 6 }, { epoch: 4, generation: 1 }].map((owner) => keepsOut(seal, owner))).toEqual([false, false]);
  expect(keepsOut(undefined, { epoch: 1, generation: 1 })).toBe(false);
});
test("of two seals the one that keeps out more stays; text goes there and back", () => {
  expect(laterSeal({ epoch: 3, generation: 5 }, { epoch: 3, generation: 4 })).toEqual({ epoch: 3, generation: 5 });
  expect(laterSeal({ epoch: 3, generation: 5 }, { epoch: 4, generation: 1 })).toEqual({ epoch: 4, generation: 1 });
  expect(parseSeal(sealText({ epoch: 3, generation: 5 }))).toEqual({ epoch: 3, generation: 5 });
  expect([undefined, "", "3", "3.x", "-", "none"].map(parseSeal)).toEqual(Array.from({ length: 6 }, () => undefined));
});
