import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import type { CommandRunner } from "../../daemon/lib/command.js";
import { runOk } from "../../daemon/lib/command.js";
import type { ErrorCode } from "../../daemon/lib/errors.js";
import { HcError } from "../../daemon/lib/errors.js";
import type { Platform } from "../../daemon/platform/platform.js";
import type { BuildOptions } from "../../daemon/services/recipe.js";
import type { BuildReport } from "../../daemon/services/recipes.js";
import type { SiteServices } from "../../daemon/services/site-services.js";

function templates(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || /\.(ts|md)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(folder.length + 1)] = readFileSync(path, "utf8");
  }
  return found;
}

/** Bundles test/support/services-driver as hcd itself is bundled, and puts it into the node. */
async function install(runner: CommandRunner): Promise<string> {
  const result = await build({
    entryPoints: [join(__dirname, "services-driver.js")],
    bundle: true, write: false, platform: "node", target: "node22", format: "cjs", logLevel: "silent",
    define: { __HC_TEMPLATES__: JSON.stringify(templates(join(process.cwd(), "templates"))) },
  });
  const text = result.outputFiles[0]?.text ?? "";
  const path = `/root/services-driver-${createHash("sha256").update(text).digest("hex").slice(0, 12)}.cjs`;
  await runOk(runner, ["tee", path], { timeoutMs: 30_000, input: text, maxOutputBytes: 64 << 20 });
  return path;
}

export interface NodeServices {
  platform: Platform;
  services: SiteServices;
  build(options: Omit<BuildOptions, "runner" | "log" | "signal">): Promise<BuildReport>;
}

/** The real platform and services, each call run by the node's own Node.js inside a lab node. */
export async function servicesOn(runner: CommandRunner): Promise<NodeServices> {
  const path = await install(runner);
  const call = async (target: string, method: string, args: unknown[]): Promise<unknown> => {
    const text = await runOk(runner, ["node", path], { timeoutMs: 120_000, input: JSON.stringify({ target, method, args }) });
    const { value, error } = JSON.parse(text) as { value?: unknown; error?: { code: ErrorCode; message: string } };
    if (error !== undefined) throw new HcError(error.code, error.message);
    return /states$/i.test(method) ? new Map(value as [string, unknown][]) : value;
  };
  const remote = <T extends object>(target: string, own: object = {}): T =>
    new Proxy(own, { get: (known, method) => Reflect.get(known, method) ?? ((...args: unknown[]) => call(target, String(method), args)) }) as T;
  return { platform: remote<Platform>("platform", { name: "linux" }), services: remote<SiteServices>("services"), build: (options) => call("recipes", "build", [options]) as Promise<BuildReport> };
}
