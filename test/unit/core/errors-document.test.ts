import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCode, errorsMarkdown, errorTable, HcError } from "../../../daemon/lib/errors.js";

test("docs/errors.md is what the table says (UPDATE_DOCS=1 writes it)", () => {
  const file = join(process.cwd(), "docs", "errors.md");
  if (process.env["UPDATE_DOCS"] === "1") writeFileSync(file, errorsMarkdown());
  expect(readFileSync(file, "utf8")).toBe(errorsMarkdown());
});
test("every code says what it means and what to do, in whole sentences", () => {
  for (const [code, { meaning, fix }] of Object.entries(errorTable)) expect({ code, meaning, fix }).toEqual({ code, meaning: expect.stringMatching(/^([A-Z]|etcd).*\.$/), fix: expect.stringMatching(/^[A-Z].*\.$/) });
});
test("codes are recognised across copies of the class, and nothing else is", () => {
  expect(errorCode(new HcError("LOCKED", "x"))).toBe("LOCKED");
  expect(errorCode({ code: "LOCKED" })).toBe("LOCKED");
  expect(errorCode({ code: "ENOENT" })).toBeUndefined();
  expect(errorCode({ code: "constructor" })).toBeUndefined();
});
