import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { safeName, untar } from "../../../daemon/agent/untar.js";

interface Entry { name: string; type?: string; link?: string; mode?: number; body?: string | Buffer; prefix?: string }
/** A ustar archive by hand, so that it can hold what tar(1) would never write. */
function tar(...entries: Entry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const body = Buffer.from(entry.body ?? "");
    const header = Buffer.alloc(512);
    header.write(entry.name, 0, 100);
    header.write((entry.mode ?? 0o644).toString(8).padStart(7, "0"), 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(body.length.toString(8).padStart(11, "0"), 124);
    header.write("00000000000\0", 136);
    header.write(entry.type ?? "0", 156);
    header.write(entry.link ?? "", 157, 100);
    header.write("ustar\0" + "00", 257);
    header.write(entry.prefix ?? "", 345, 155);
    header.fill(" ", 148, 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
async function* inChunks(bytes: Buffer, size = 100): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe("unpacking content", () => {
  let base: string;
  let root: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "hc-untar-"));
    root = join(base, "www");
    mkdirSync(root);
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));
  const unpack = (archive: Buffer, size?: number) => untar(inChunks(archive, size), root, new AbortController().signal);

  it("puts files, folders and links, and takes dangerous bits away", async () => {
    const big = Buffer.alloc(100_000, "x");
    const result = await unpack(tar({ name: "./" , type: "5" }, { name: "a/", type: "5", mode: 0o700 }, { name: "a/b.php", body: "<?php", mode: 0o6600 }, { name: "deep/er/c", body: big }, { name: "a/link", type: "2", link: "../deep/er/c" }));
    expect(result).toEqual({ entries: 5, bytes: big.length + 5 });
    expect(readFileSync(join(root, "a/b.php"), "utf8")).toBe("<?php");
    expect(readFileSync(join(root, "a/link")).equals(big)).toBe(true);
    expect(lstatSync(join(root, "a/b.php")).mode & 0o7777).toBe(0o644);
    expect(lstatSync(join(root, "a")).mode & 0o7777).toBe(0o755);
  });
  it("can be repeated, and replaces what is there", async () => {
    await unpack(tar({ name: "index.php", body: "old" }, { name: "l", type: "2", link: "index.php" }));
    await unpack(tar({ name: "index.php", body: "new" }, { name: "l", type: "2", link: "index.php" }), 7);
    expect(readFileSync(join(root, "l"), "utf8")).toBe("new");
  });
  it.each<[string, Entry[]]>([
    ["an absolute name", [{ name: "/etc/passwd", body: "x" }]],
    ["a name that climbs out", [{ name: "a/../../outside", body: "x" }]],
    ["an absolute link", [{ name: "l", type: "2", link: "/etc" }]],
    ["a link that climbs out", [{ name: "a/l", type: "2", link: "../../outside" }]],
    ["a way through a link of its own", [{ name: "d/", type: "5" }, { name: "l", type: "2", link: "d" }, { name: "l/x", body: "x" }]],
    ["a hard link", [{ name: "l", type: "1", link: "/etc/passwd" }]],
    ["a device", [{ name: "dev", type: "3" }]],
    ["a pipe", [{ name: "pipe", type: "6" }]],
    ["a folder in the place of a file", [{ name: "f", body: "x" }, { name: "f/", type: "5" }]],
    ["a file in the place of a folder", [{ name: "f/", type: "5" }, { name: "f", body: "x" }]],
  ])("refuses %s", async (_what, entries) => {
    await expect(unpack(tar(...entries))).rejects.toMatchObject({ code: "INVALID_INPUT" });
    expect(existsSync(join(base, "outside"))).toBe(false);
  });
  it("never follows a link that stands there already", async () => {
    const outside = join(base, "outside");
    mkdirSync(outside);
    symlinkSync(outside, join(root, "link"));
    writeFileSync(join(outside, "target"), "kept");
    symlinkSync(join(outside, "target"), join(root, "file"));
    await expect(unpack(tar({ name: "link/x", body: "x" }))).rejects.toMatchObject({ code: "INVALID_INPUT" });
    await unpack(tar({ name: "file", body: "inside" }));
    expect(readFileSync(join(outside, "target"), "utf8")).toBe("kept");
    expect(readFileSync(join(root, "file"), "utf8")).toBe("inside");
    expect(existsSync(join(outside, "x"))).toBe(false);
  });
  it.each([["an empty stream", Buffer.alloc(0)], ["no archive", Buffer.alloc(1024, "z")], ["a cut archive", tar({ name: "a", body: Buffer.alloc(5000, "y") }).subarray(0, 2000)]])("refuses %s", async (_what, archive) => {
    await expect(unpack(archive)).rejects.toMatchObject({ code: "INVALID_INPUT" });
  });
  it("refuses NUL and dots in names", () => {
    for (const name of ["a\0b", "..", "a/..", "/"]) expect(() => safeName(name)).toThrow();
    expect(safeName("./a//b/")).toBe("a/b");
    expect(safeName("./")).toBe("");
    expect(safeName("a/..b")).toBe("a/..b");
  });
  it.each(["gnu", "pax", "ustar"])("reads what tar(1) writes as %s", async (format) => {
    const from = join(base, "from");
    const long = format === "ustar" ? "n".repeat(80) : "n".repeat(180);
    mkdirSync(join(from, "sub", long), { recursive: true });
    writeFileSync(join(from, "sub", long, "päth.txt"), "text");
    symlinkSync("sub", join(from, "alias"));
    const made = spawnSync("tar", [`--format=${format}`, "-cf", "-", "-C", from, "."], { maxBuffer: 1 << 26 });
    expect(made.status).toBe(0);
    await unpack(made.stdout);
    expect(readFileSync(join(root, "sub", long, "päth.txt"), "utf8")).toBe("text");
    expect(lstatSync(join(root, "alias")).isSymbolicLink()).toBe(true);
  });
});
