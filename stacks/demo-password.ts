import { createHash, pbkdf2Sync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectRootOf, workspaceDir } from "../providers/core/workspace.js";

/** The demo wiki's admin password: made once, in a file of the workspace (0600), never in the state. */
export function demoPassword(): { text: string; file: string } {
  const file = join(workspaceDir(projectRootOf(process.cwd())), "wiki-password");
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, `${randomBytes(9).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
  }
  return { text: readFileSync(file, "utf8").trim(), file };
}

/** DokuWiki's "djangopbkdf2_sha256" form. The salt comes from the password, so that the same password gives the same input (else every `up` would see a change). */
export function dokuwikiHash(password: string): string {
  const salt = createHash("sha256").update(`hybridcluster demo ${password}`).digest("hex").slice(0, 12);
  return `pbkdf2_sha256$24000$${salt}$${pbkdf2Sync(password, salt, 24_000, 32, "sha256").toString("base64")}`;
}
