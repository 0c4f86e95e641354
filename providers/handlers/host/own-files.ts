import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { HcError } from "../../../daemon/lib/errors.js";

/** This file runs as dist/providers/handlers/host/own-files.js. */
const packageRoot = (): string => join(__dirname, "..", "..", "..", "..");

/** The daemon that this package carries; it must have the digest that the program saw. */
export function artefactFile(sha256: string): string {
  const file = join(packageRoot(), "dist", "hcd", "hcd.cjs");
  const seen = existsSync(file) ? createHash("sha256").update(readFileSync(file)).digest("hex") : "missing";
  if (seen !== sha256) throw new HcError("CONFLICT", `hcd: the program was made with daemon ${sha256.slice(0, 12)}, but ${file} is ${seen.slice(0, 12)}. Run the build and \`hc up\` again.`, { retry: "never" });
  return file;
}

/** The Node binary of the npm package `node`. */
export function nodeBinaryFile(): string {
  const file = join(dirname(require.resolve("node/package.json", { paths: [packageRoot()] })), "bin", "node");
  if (!existsSync(file)) throw new HcError("NOT_FOUND", `The npm package "node" brought no binary (${file}); install it again.`);
  return file;
}
