import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gunzipSync } from "node:zlib";
import { untar } from "../../../daemon/agent/untar.js";
import { packContent } from "../../../providers/core/pack-content.js";

let folder: string;
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), "hc-content-")); });
afterEach(() => { rmSync(folder, { recursive: true }); });

const long = `${"d".repeat(60)}/${"ä".repeat(40)}`;
function fill(root: string): void {
  mkdirSync(join(root, long), { recursive: true });
  mkdirSync(join(root, "empty"));
  writeFileSync(join(root, long, "deep.txt"), "deep");
  writeFileSync(join(root, "run.sh"), "#!/bin/sh\n");
  chmodSync(join(root, "run.sh"), 0o700);
  writeFileSync(join(root, "block"), Buffer.alloc(512, "x"));
  symlinkSync("empty", join(root, "link"));
}

test("a folder comes out of the node's untar, and of tar(1), as it went in; the same files give the same bytes", async () => {
  for (const name of ["one", "two", "out", "tar"]) mkdirSync(join(folder, name));
  fill(join(folder, "one"));
  fill(join(folder, "two"));
  const packed = packContent(join(folder, "one"));
  expect(packContent(join(folder, "two")).equals(packed)).toBe(true);
  await untar(Readable.from([gunzipSync(packed)]), join(folder, "out"), new AbortController().signal);
  execFileSync("tar", ["-xzf", "-", "-C", join(folder, "tar")], { input: packed });
  for (const out of ["out", "tar"]) {
    const at = (path: string): string => join(folder, out, path);
    expect(readFileSync(at(`${long}/deep.txt`), "utf8")).toBe("deep");
    expect(readFileSync(at("block")).length).toBe(512);
    expect(statSync(at("run.sh")).mode & 0o777).toBe(0o755);
    expect(statSync(at("empty")).isDirectory()).toBe(true);
    expect(readlinkSync(at("link"))).toBe("empty");
  }
});

test("what cannot be packed is refused with the property named, before anything runs", () => {
  expect(() => packContent(join(folder, "none"))).toThrow(/^content: .*none does not exist/);
  writeFileSync(join(folder, "site.zip"), "PK\u0003\u0004");
  expect(() => packContent(join(folder, "site.zip"))).toThrow(/^content: .*site\.zip is neither a folder nor a \.tar\.gz/);
  symlinkSync("x".repeat(120), join(folder, "far"));
  expect(() => packContent(folder)).toThrow(/^content: the target of the link far is too long/);
  unlinkSync(join(folder, "far"));
  writeFileSync(join(folder, "f".repeat(120)), "");
  expect(() => packContent(folder)).toThrow(/^content: the path f+ is too long/);
});
