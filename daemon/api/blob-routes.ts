import { createHash, randomBytes } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { type Readable, Transform } from "node:stream";
import type { RouteHandler, RouteRegistry } from "../context.js";
import { HcError } from "../lib/errors.js";

/** Largest blob (a site's initial content), bytes. */
export const blobLimitBytes = 16 * 1024 ** 3;

/** Content by digest, on the node's own disk. Other nodes fetch it over the control port. */
export class Blobs {
  public constructor(private readonly folder: string) {}

  public path(sha256: string): string {
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw new HcError("INVALID_INPUT", `${JSON.stringify(sha256)} is not a SHA-256 digest (64 hexadecimal digits).`);
    return `${this.folder}/${sha256}`;
  }

  public async size(sha256: string): Promise<number | undefined> {
    return stat(this.path(sha256)).then((found) => found.size, () => undefined);
  }

  /** Stores the stream when its digest is right; a crash leaves only a `.part` file, which the next start removes. */
  public async put(sha256: string, body: Readable): Promise<{ stored: boolean; sizeBytes: number }> {
    const path = this.path(sha256);
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const present = await this.size(sha256);
    if (present !== undefined) {
      body.resume();
      return { stored: false, sizeBytes: present };
    }
    const part = `${this.folder}/${sha256}.${randomBytes(4).toString("hex")}.part`;
    const hash = createHash("sha256");
    let sizeBytes = 0;
    const meter = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        done(sizeBytes > blobLimitBytes ? new HcError("LIMIT_EXCEEDED", `The blob is larger than ${blobLimitBytes} bytes.`, { retry: "never" }) : null, chunk);
      },
    });
    try {
      await pipeline(body, meter, createWriteStream(part, { mode: 0o600, flags: "wx" }));
      const digest = hash.digest("hex");
      if (digest !== sha256) throw new HcError("INVALID_INPUT", `The body's digest is ${digest}, not ${sha256}; it was cut or changed on its way.`, { retry: "transient" });
      const file = await open(part, "r");
      await file.sync().finally(() => file.close());
      await rename(part, path);
    } catch (error) {
      await rm(part, { force: true });
      throw error;
    }
    return { stored: true, sizeBytes };
  }

  public async clearParts(): Promise<void> {
    for (const name of await readdir(this.folder).catch(() => [])) if (name.endsWith(".part")) await rm(`${this.folder}/${name}`, { force: true });
  }
}

export function blobRoutes(api: RouteRegistry, peer: RouteRegistry, blobs: Blobs): void {
  const get: RouteHandler = async ({ params, stream }, response) => {
    const sha256 = params["sha256"] as string;
    const size = await blobs.size(sha256);
    if (size === undefined) throw new HcError("NOT_FOUND", `This node does not have the blob ${sha256}.`);
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": size });
    if (stream.method === "HEAD") response.end();
    else await pipeline(createReadStream(blobs.path(sha256)), response);
    return undefined;
  };
  api.route("PUT", "/v1/blobs/:sha256", ({ params, stream }) => blobs.put(params["sha256"] as string, stream));
  api.route("GET", "/v1/blobs/:sha256", get);
  peer.route("GET", "/peer/v1/blobs/:sha256", get);
}
