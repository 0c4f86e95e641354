import { utils } from "ssh2";
import { makeKey, publicHalf } from "../../../providers/lab/keys.js";

test("a key that its own library cannot read is not given out", () => {
  const good = makeKey("good");
  const broken = { private: good.privateKey.replace(/\n[A-Za-z0-9+/=]{20}/, "\nAAAAAAAAAAAAAAAAAAAA"), public: good.publicKey };
  const other = makeKey("other");
  const made = [broken, { private: other.privateKey, public: good.publicKey }, { private: good.privateKey, public: `${good.publicKey} good` }];
  expect(makeKey("x", () => made.shift() as { private: string; public: string })).toEqual(good);
  expect(made).toEqual([]);
  expect(publicHalf(good.privateKey, "key")).toBe(good.publicKey);
  expect(utils.parseKey(broken.private)).toBeInstanceOf(Error);
  expect(() => makeKey("x", () => broken)).toThrow(/10 keys one after the other/);
});
