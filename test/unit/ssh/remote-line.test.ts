import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { quote, quoteAll } from "../../../daemon/lib/quote.js";
import { remoteLine } from "../../../providers/ssh/ssh-runner.js";

const sh = (line: string, input = ""): string => spawnSync("/bin/sh", ["-c", line], { input, encoding: "utf8" }).stdout;
/** Any text that an argument can hold: not NUL, and no half of a surrogate pair, which has no UTF-8. */
const word = fc.oneof(fc.string({ unit: "binary", maxLength: 40 }), fc.string({ unit: fc.constantFrom("'", '"', "\\", "$", "`", "!", "\n", " ", "*", "~", "-", "%", "0", "1", "a", "é"), maxLength: 30 })).filter((text) => !text.includes("\0"));

describe("quoting for a shell", () => {
  it("brings any words through /bin/sh unchanged", () => {
    fc.assert(fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      expect(sh(`printf '%s\\0' ${quoteAll(words)}`).split("\0").slice(0, -1)).toEqual(words);
    }), { numRuns: 60 });
  });
  it("refuses NUL and leaves harmless words readable", () => {
    expect(() => quote("a\0b")).toThrow("NUL");
    expect(["/usr/bin/zfs", "a=b", "~x", ""].map(quote)).toEqual(["/usr/bin/zfs", "a=b", "'~x'", "''"]);
  });
  it("brings argv through the whole remote line", () => {
    fc.assert(fc.property(fc.array(word, { maxLength: 4 }), (words) => {
      expect(sh(remoteLine(["printf", "%s\\0", "first", ...words], { timeoutMs: 10_000, user: "root" })).split("\0").slice(0, -1)).toEqual(["first", ...words]);
    }), { numRuns: 40 });
  });
  it("shows the login shell nothing that any shell could read otherwise", () => {
    fc.assert(fc.property(fc.array(word, { minLength: 1, maxLength: 4 }), (words) => {
      const [, script] = /^exec \/bin\/sh -c 'eval "\$\(printf %b "\$0"\)"' '([^']*)'$/.exec(remoteLine(words, { timeoutMs: 1, user: "root", cwd: words[0] ?? "" })) ?? [];
      expect(script).toMatch(/^[A-Za-z0-9_@%+=:,./ \\-]+$/);
    }));
  });
  it("reads the environment from standard input, never from the line", () => {
    const line = remoteLine(["sh", "-c", 'printf "%s/" "$A"; cat'], { timeoutMs: 10_000, user: "root", env: ["A"] });
    expect(line).not.toContain("geheim");
    expect(sh(line, "A=geheim\n\nrest")).toBe("geheim/rest");
  });
});
