import { createHash } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";

declare const __HC_VERSION__: string;

/** Version of the package, put in by the bundler; "0.0.0-dev" when run unbundled. */
export const hcdVersion: string = typeof __HC_VERSION__ === "string" ? __HC_VERSION__ : "0.0.0-dev";

/** Digest of the artefact that runs: what `Host` compares with the one it would upload. "" when it cannot be read. */
export function artefactSha256(file = process.argv[1]): string {
  try {
    return createHash("sha256").update(readFileSync(realpathSync(file ?? ""))).digest("hex");
  } catch {
    return "";
  }
}
