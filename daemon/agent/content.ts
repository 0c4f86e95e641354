import { createReadStream } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import type { NodeContext } from "../context.js";
import { runOk } from "../lib/command.js";
import { blobFile } from "./blobs.js";
import type { ContentRequest } from "./tools.js";
import { untar } from "./untar.js";

/**
 * What of the template becomes the tenant's. Not `www`: the application belongs to root and is shared with the template, block by block (a change of owner would
 * copy every inode); the folder itself is the tenant's (services/container.ts), who can put files of their own beside and in the place of the template's.
 */
const tenantFolders = ["tmp", "log", "data"];
/** Longest change of owner of a whole unit, ms. */
const chownWithinMs = 600_000;

/** Puts the initial content into the document root of a unit that is mounted and not started yet, and gives all of it to the unit's user. Can be repeated. */
export async function populateFolder(context: Pick<NodeContext, "host" | "cluster" | "peers" | "log" | "runner">, request: ContentRequest, signal: AbortSignal): Promise<void> {
  if (request.sha256 !== "") {
    const archive = await blobFile(context, request.sha256, signal);
    const target = `${request.root}/www`;
    await mkdir(target, { recursive: true, mode: 0o755 });
    const { entries, bytes } = await untar(createReadStream(archive).pipe(createGunzip()), target, signal, { uid: request.uid, gid: request.gid });
    context.log.info({ root: request.root, entries, bytes }, "initial content unpacked");
  }
  // the unit's root and what the container mounts on stay root's (services/container.ts); -h: a link is changed itself and never followed
  const own = (await readdir(request.root)).filter((name) => tenantFolders.includes(name)).map((name) => `${request.root}/${name}`);
  if (own.length > 0) await runOk(context.runner, ["chown", "-R", "-h", `${request.uid}:${request.gid}`, ...own], { timeoutMs: chownWithinMs, signal });
}

/** Removes everything in a folder, not the folder. */
export async function emptyFolder(path: string): Promise<void> {
  for (const name of await readdir(path)) await rm(`${path}/${name}`, { recursive: true, force: true });
}
