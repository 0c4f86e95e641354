import { constants, open, readdir, stat } from "node:fs/promises";
import { canonicalName } from "./site-paths.js";

/** The last `bytes` of a file, from the first whole line on; "" when there is none. What lies in a folder of another user may be no file: no link is followed, and nothing is waited for. */
export async function tail(path: string, bytes: number): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(() => undefined);
  if (file === undefined) return "";
  try {
    const seen = await file.stat();
    if (!seen.isFile()) return "";
    const { size } = seen;
    const from = Math.max(0, size - bytes);
    const buffer = Buffer.alloc(size - from);
    await file.read(buffer, 0, buffer.length, from);
    const text = buffer.toString("utf8");
    return from === 0 ? text : text.slice(text.indexOf("\n") + 1);
  } finally {
    await file.close();
  }
}

/** Pure: lines of one unit; each line of our Apache begins with the canonical name of its virtual host. */
export function linesOf(text: string, unit: string): string[] {
  const start = `${canonicalName(unit)} `;
  return text.split("\n").filter((line) => line.startsWith(start)).map((line) => line.slice(start.length));
}

const apacheBytes = 16 << 20;
const fpmBytes = 256 << 10;

/** PHP's and Apache's errors of a unit, oldest first; rotatelogs -n turns round a few files, so their order is that of their last write. */
export async function readSiteLog({ apacheFolder, fpmLog, unit, lines }: { apacheFolder: string; fpmLog: string; unit: string; lines: number }): Promise<string> {
  const names = (await readdir(apacheFolder).catch(() => [])).filter((name) => name.startsWith("error.log"));
  const files = await Promise.all(names.map(async (name) => ({ path: `${apacheFolder}/${name}`, atMs: (await stat(`${apacheFolder}/${name}`)).mtimeMs })));
  const found: string[] = (await tail(fpmLog, fpmBytes)).split("\n").filter((line) => line !== "").map((line) => `[php-fpm] ${line}`).slice(-Math.ceil(lines / 4));
  const web: string[] = [];
  for (const { path } of files.sort((a, b) => a.atMs - b.atMs)) web.push(...linesOf(await tail(path, apacheBytes), unit));
  return [...found, ...web].slice(-lines).join("\n");
}
