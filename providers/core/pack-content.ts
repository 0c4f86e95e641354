import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { HcError } from "../../daemon/lib/errors.js";

/** Largest initial content, packed: it lies in memory while it is packed. */
export const maxContentBytes = 512 * 1024 * 1024;

function header(name: string, mode: number, size: number, type: "0" | "2" | "5", link: string): Buffer {
  const block = Buffer.alloc(512);
  let prefix = "";
  let short = name;
  if (Buffer.byteLength(short) > 100) {
    const cut = name.lastIndexOf("/", 154);
    prefix = cut === -1 ? "" : name.slice(0, cut);
    short = cut === -1 ? name : name.slice(cut + 1);
    if (prefix === "" || Buffer.byteLength(prefix) > 155 || Buffer.byteLength(short) > 100) throw new HcError("INVALID_INPUT", `content: the path ${name} is too long for an archive.`);
  }
  if (Buffer.byteLength(link) > 100) throw new HcError("INVALID_INPUT", `content: the target of the link ${name} is too long for an archive.`);
  block.write(short, 0);
  block.write(`${mode.toString(8).padStart(7, "0")}\0`, 100);
  block.write("0000000\0", 108);
  block.write("0000000\0", 116);
  block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  block.write("00000000000\0", 136); // no times: the same files give the same bytes
  block.write("        ", 148);
  block.write(type, 156);
  block.write(link, 157, 100);
  block.write("ustar\0" + "00", 257);
  block.write(prefix, 345);
  block.write(`${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function archive(path: string): Buffer {
  const data = readFileSync(path);
  if (data.length > maxContentBytes) throw new HcError("LIMIT_EXCEEDED", `content: ${path} is larger than ${maxContentBytes} bytes.`, { retry: "never" });
  // RFC 1952 §2.3.1; a node would find out only when the site is made
  if (data[0] !== 0x1f || data[1] !== 0x8b) throw new HcError("INVALID_INPUT", `content: ${path} is neither a folder nor a .tar.gz archive.`);
  return data;
}

/** A folder as a gzipped ustar archive (POSIX.1-1988), deterministic: sorted, no times, no owners. An archive file is taken as it is. */
export function packContent(path: string): Buffer {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new HcError("INVALID_INPUT", `content: ${resolve(path)} does not exist. A relative path begins at the program's folder (that of \`main\` in Pulumi.yaml); \`\${__dirname}/…\` begins at the file's.`);
  if (!found.isDirectory()) return archive(path);
  const parts: Buffer[] = [];
  let bytes = 0;
  const add = (part: Buffer): void => {
    bytes += part.length;
    if (bytes > maxContentBytes) throw new HcError("LIMIT_EXCEEDED", `content: ${path} is larger than ${maxContentBytes} bytes.`, { retry: "never" });
    parts.push(part);
  };
  const walk = (folder: string, prefix: string): void => {
    for (const name of readdirSync(folder).sort()) {
      const file = join(folder, name);
      const stat = lstatSync(file);
      if (stat.isSymbolicLink()) add(header(prefix + name, 0o777, 0, "2", readlinkSync(file)));
      else if (stat.isDirectory()) {
        add(header(`${prefix}${name}/`, 0o755, 0, "5", ""));
        walk(file, `${prefix}${name}/`);
      } else if (stat.isFile()) {
        const data = readFileSync(file);
        add(header(prefix + name, stat.mode & 0o111 ? 0o755 : 0o644, data.length, "0", ""));
        add(data);
        add(Buffer.alloc((512 - (data.length % 512)) % 512));
      }
    }
  };
  walk(path, "");
  add(Buffer.alloc(1024));
  return gzipSync(Buffer.concat(parts), { level: 9 });
}
export const contentDigest = (data: Buffer): string => createHash("sha256").update(data).digest("hex");
