import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { NodeContext } from "../context.js";
import { HcError, messageOf } from "../lib/errors.js";

/** Bound of a content archive as it is stored, bytes. */
export const maxBlobBytes = 4 * 1024 ** 3;
const idleTimeoutMs = 20_000;

type Context = Pick<NodeContext, "host" | "cluster" | "peers" | "log">;

/** The local file of a blob; fetched from the first peer that has it, checked by its digest. Throws NOT_FOUND when nobody has it. */
export async function blobFile(context: Context, sha256: string, signal: AbortSignal): Promise<string> {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new HcError("INVALID_INPUT", `content.sha256 ${JSON.stringify(sha256)} is not a SHA-256 in hex.`);
  const path = `${context.host.paths.state}/blobs/${sha256}`;
  if (await stat(path).then((found) => found.isFile(), () => false)) return path;
  const reasons: string[] = [];
  for (const { node } of context.cluster.members) {
    if (node === context.cluster.node) continue;
    try {
      await fetch(context, node, sha256, path, signal);
      return path;
    } catch (error) {
      if (signal.aborted) throw error;
      reasons.push(`${node}: ${messageOf(error)}`);
    }
  }
  throw new HcError("NOT_FOUND", `The content ${sha256} is on no node that answers (${reasons.join("; ") || "there is no other"}): run \`hc up\` again.`, { retry: "transient" });
}

async function fetch(context: Context, node: string, sha256: string, path: string, signal: AbortSignal): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.from-${node}-${process.pid}`;
  const hash = createHash("sha256");
  let bytes = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      bytes += chunk.length;
      hash.update(chunk);
      callback(bytes > maxBlobBytes ? new HcError("LIMIT_EXCEEDED", `The content ${sha256} is larger than ${maxBlobBytes} bytes.`, { retry: "never" }) : null, chunk);
    },
  });
  try {
    const stream = await context.peers.download(node, `/peer/v1/blobs/${sha256}`, { idleTimeoutMs, signal });
    await pipeline(stream, count, createWriteStream(temporary, { mode: 0o600 }), { signal });
    const digest = hash.digest("hex");
    if (digest !== sha256) throw new HcError("INTERNAL", `${node} sent ${digest} for the content ${sha256}.`);
    const file = await open(temporary, "r");
    await file.sync().finally(() => file.close());
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}
export const readBlob = (path: string): NodeJS.ReadableStream => createReadStream(path);
