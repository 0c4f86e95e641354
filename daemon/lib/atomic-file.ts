import { open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes a temporary name beside `path`, fsyncs, renames, fsyncs the folder: after a power cut either the old or the new text is there. */
export async function writeFileAtomic(path: string, data: string | Buffer, options: { mode?: number; uid?: number; gid?: number } = {}): Promise<void> {
  const temporary = `${path}.new-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  try {
    const file = await open(temporary, "wx", options.mode ?? 0o644);
    try {
      await file.writeFile(data);
      await file.chmod(options.mode ?? 0o644);
      if (options.uid !== undefined) await file.chown(options.uid, options.gid ?? options.uid);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** The text of a file, or undefined when there is none. */
export async function readFileIfAny(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
