import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { createLogger } from "../../daemon/lib/log.js";
import { defaultPaths, defaultPorts } from "../../daemon/lib/node-config.js";
import { createPlatform } from "../../daemon/platform/create-platform.js";
import { createSiteServices } from "../../daemon/services/create-site-services.js";
import { buildTemplate } from "../../daemon/services/recipes.js";

/**
 * Bundled and run inside a lab node (test/support/services-node.ts): one call a process, as JSON on standard input, its result or error on
 * standard output. So platform and services act on the node's own files and systemd.
 */
async function main(): Promise<void> {
  let input = "";
  for await (const chunk of process.stdin) input += String(chunk);
  const { target, method, args } = JSON.parse(input) as { target: "platform" | "services" | "recipes"; method: string; args: unknown[] };
  const runner = new LocalRunner();
  const log = createLogger("driver", { write: (line: string) => void process.stderr.write(line) } as never);
  const platform = createPlatform("linux", { runner, paths: defaultPaths, log });
  const services = createSiteServices({ platform, host: { paths: defaultPaths, ports: defaultPorts }, runner, log });
  const recipes = { build: (options: object) => buildTemplate({ runner, log, signal: new AbortController().signal, ...options } as Parameters<typeof buildTemplate>[0]) };
  const targets = { platform, services, recipes } as unknown as Record<string, Record<string, (...values: unknown[]) => Promise<unknown>>>;
  try {
    const value = await targets[target]?.[method]?.(...args);
    process.stdout.write(JSON.stringify({ value: value instanceof Map ? [...value] : (value ?? null) }));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    process.stdout.write(JSON.stringify({ error: { code: code ?? "INTERNAL", message } }));
  }
}
void main();
