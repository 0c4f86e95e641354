import { type CommandRunner, runOk } from "../../../daemon/lib/command.js";
import type { HostInputs } from "../../schemas/host.js";
import { upload } from "../../ssh/upload.js";
import { type Manifest, manifestFile } from "./manifest.js";

/** Everything that a step needs. */
export interface HostWork { runner: CommandRunner; inputs: HostInputs; manifest: Manifest }

export const quickMs = 30_000;
/** Our setting in FreeBSD's sysctl.conf(5), the line after its mark, taken out. */
export const dropSysctl = "sed -i '' '/^# hybridcluster$/{N;d;}' /etc/sysctl.conf";

/** A script of sh(1) with arguments; throws COMMAND_FAILED. */
export async function sh(runner: CommandRunner, script: string, args: readonly string[] = [], timeoutMs = quickMs): Promise<string> {
  return runOk(runner, ["sh", "-c", script, "sh", ...args], { timeoutMs });
}
export async function saveManifest({ runner, inputs, manifest }: HostWork): Promise<void> {
  await upload(runner, manifestFile(inputs.paths), { text: `${JSON.stringify(manifest)}\n` }, { mode: "600", timeoutMs: quickMs });
}
