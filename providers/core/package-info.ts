import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { HcError } from "../../daemon/lib/errors.js";

/** This file runs as dist/providers/core/package-info.js. */
const root = join(__dirname, "..", "..", "..");

/** Version and digest of the daemon that this package carries: inputs of `Host`. */
export function carriedDaemon(): { version: string; sha256: string } {
  const manifest = join(root, "dist", "hcd", "manifest.json");
  if (!existsSync(manifest)) throw new HcError("NOT_FOUND", "hybridcluster is not built: dist/hcd/manifest.json is missing. Run `npm run build` in its checkout.");
  return JSON.parse(readFileSync(manifest, "utf8")) as { version: string; sha256: string };
}

/** Version of the npm package `node`, the runtime of Linux hosts. */
export function carriedNode(): string {
  const file = require.resolve("node/package.json", { paths: [dirname(join(root, "package.json"))] });
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
