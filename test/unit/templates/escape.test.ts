import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { errorCode } from "../../../daemon/lib/errors.js";
import { dokuwikiField, fpmValue, phpString, shellWord, systemdArgument } from "../../../templates/escape.js";
import { renderTemplate } from "../../../templates/render.js";

const printable = fc.string().filter((text) => !/[\u0000-\u001f\u007f]/.test(text));

test("what the shell reads is what was written", () => {
  const words = fc.sample(fc.string().filter((text) => !text.includes("\0")), 200);
  const out = execFileSync("sh", ["-c", `printf '%s\\0' ${words.map(shellWord).join(" ")}`]);
  expect(out.toString("utf8").split("\0").slice(0, -1)).toEqual(words.map((word) => Buffer.from(word).toString("utf8")));
});
test("systemd: undoing the escapes gives the text back, and nothing ends the quotes", () => {
  fc.assert(fc.property(printable, (text) => {
    const written = systemdArgument(text);
    expect(written).toMatch(/^"(?:[^"\\]|\\["\\])*"$/);
    expect(written.slice(1, -1).replace(/\$\$/g, "$").replace(/%%/g, "%").replace(/\\(["\\])/g, "$1")).toBe(text);
  }));
});
test("PHP strings and DokuWiki's fields", () => {
  expect(phpString("it's \\ $x")).toBe("'it\\'s \\\\ $x'");
  expect(dokuwikiField("a:b#c\\d")).toBe("a\\:b\\#c\\\\d");
});
test("control characters and what a syntax cannot hold are refused", () => {
  for (const act of [() => systemdArgument("a\nb"), () => fpmValue('a"'), () => fpmValue("$x"), () => fpmValue("a\\"), () => shellWord("a\0"), () => phpString("a\nb")]) {
    let code: unknown;
    try { act(); } catch (error) { code = errorCode(error); }
    expect(code).toBe("INVALID_INPUT");
  }
});
test("a missing value is an error, not an empty text", () => {
  expect(() => renderTemplate("services/vhost.conf.hbs", { listen: [] })).toThrow(/vhost.conf.hbs.*missing/);
  expect(() => renderTemplate("services/vhost.conf.hbs", { canonical: "x", documentRoot: "/", handler: "x", hostnames: [] })).toThrow(/missing/);
  expect(() => renderTemplate("services/nowhere.hbs", {})).toThrow();
});
