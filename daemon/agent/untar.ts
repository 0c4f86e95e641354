import { constants } from "node:fs";
import { type FileHandle, chmod, lchown, lstat, mkdir, open, rm, symlink } from "node:fs/promises";
import { posix } from "node:path";
import { HcError } from "../lib/errors.js";
import { type TarEntry, tarEntries } from "./tar-entries.js";

/** Bounds of one archive: entries, and bytes when unpacked. */
export const untarLimits = { entries: 500_000, bytes: 64 * 1024 ** 3 };

export interface Owner { uid: number; gid: number }
export interface UntarResult { entries: number; bytes: number }

/**
 * Unpacks a tar stream below `root`. Never writes outside of it: names that are absolute or climb out are refused, and so are links out of it, devices and pipes; every
 * folder on the way is looked at and must be a real folder, so that a link that an earlier entry, or the template, has put there is never followed.
 * Everything becomes readable for all and writable for its owner only; setuid, setgid and sticky bits are dropped. What exists is replaced. Everything that it makes belongs to `owner`. Throws INVALID_INPUT, LIMIT_EXCEEDED.
 */
export async function untar(archive: AsyncIterable<Buffer>, root: string, signal: AbortSignal, owner?: Owner): Promise<UntarResult> {
  const folders = new Set<string>([root]);
  let entries = 0;
  let bytes = 0;
  for await (const entry of tarEntries(archive)) {
    if (signal.aborted) throw new HcError("ABORTED", "Unpacking was cancelled.");
    entries += 1;
    bytes += entry.size;
    if (entries > untarLimits.entries || bytes > untarLimits.bytes) throw new HcError("LIMIT_EXCEEDED", `The archive holds more than ${untarLimits.entries} entries or ${untarLimits.bytes} bytes.`, { retry: "never" });
    const name = safeName(entry.name);
    if (name === "") continue;
    await realFolders(root, posix.dirname(name), folders, owner);
    await place(entry, root, name, folders, owner);
  }
  return { entries, bytes };
}

function refuse(entry: string, why: string): HcError {
  return new HcError("INVALID_INPUT", `content: the entry ${JSON.stringify(entry.slice(0, 200))} ${why}.`);
}

/** Relative, normal, inside. "" = the root itself. */
export function safeName(name: string): string {
  if (name.includes("\0")) throw refuse(name, "holds a NUL");
  if (name.startsWith("/")) throw refuse(name, "has an absolute name");
  if (name.split("/").includes("..")) throw refuse(name, "climbs out by '..'");
  const normal = posix.normalize(name).replace(/\/+$/, "");
  return normal === "." ? "" : normal;
}

async function realFolders(root: string, relative: string, known: Set<string>, owner: Owner | undefined): Promise<void> {
  let path = root;
  for (const part of relative === "." ? [] : relative.split("/")) {
    path = `${path}/${part}`;
    if (known.has(path)) continue;
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined) {
      await mkdir(path, { mode: 0o755 });
      if (owner !== undefined) await lchown(path, owner.uid, owner.gid);
    } else if (!found.isDirectory()) throw refuse(path.slice(root.length + 1), "is used as a folder, and is none");
    known.add(path);
  }
}

async function place(entry: TarEntry, root: string, name: string, folders: Set<string>, owner: Owner | undefined): Promise<void> {
  const path = `${root}/${name}`;
  // readable by the web server, which is let in at the document root by its group
  const mode = (entry.mode & 0o755) | 0o644;
  const found = await lstat(path).catch(() => undefined);
  switch (entry.type) {
    case "folder":
      if (found !== undefined && !found.isDirectory()) throw refuse(name, "replaces a file by a folder");
      if (found === undefined) await mkdir(path);
      if (owner !== undefined) await lchown(path, owner.uid, owner.gid);
      await chmod(path, mode | 0o755);
      folders.add(path);
      return;
    case "file": {
      if (found?.isDirectory() === true) throw refuse(name, "replaces a folder by a file");
      if (found !== undefined) await rm(path);
      const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
      try {
        await copy(entry.body, file);
        if (owner !== undefined) await file.chown(owner.uid, owner.gid);
        await file.chmod(mode);
      } finally {
        await file.close();
      }
      return;
    }
    case "symlink": {
      const target = posix.normalize(posix.join(posix.dirname(name), entry.link));
      if (entry.link.startsWith("/") || target === ".." || target.startsWith("../")) throw refuse(name, `is a link out of the content, to ${JSON.stringify(entry.link.slice(0, 200))}`);
      if (found?.isDirectory() === true) throw refuse(name, "replaces a folder by a link");
      if (found !== undefined) await rm(path);
      await symlink(entry.link, path);
      if (owner !== undefined) await lchown(path, owner.uid, owner.gid);
      return;
    }
    default: throw refuse(name, `is a ${entry.type}, which cannot be content`);
  }
}

async function copy(body: AsyncIterable<Buffer>, file: FileHandle): Promise<void> {
  for await (const chunk of body) {
    let at = 0;
    while (at < chunk.length) at += (await file.write(chunk, at)).bytesWritten;
  }
}
