import { readFileSync } from "node:fs";
import { App } from "./app.js";
import { logged } from "./lib/command.js";
import { messageOf } from "./lib/errors.js";
import { LocalRunner } from "./lib/local-runner.js";
import { createLogger } from "./lib/log.js";
import { defaultPaths, freebsdPaths, type HostConfig, hostConfigFile } from "./lib/node-config.js";
import { realParts } from "./real-parts.js";
import { artefactSha256, hcdVersion } from "./version.js";

/** hcd.cjs control [host.json] · worker OPTIONS · version */
const usage = "usage: hcd.cjs control [HOST.JSON] | worker OPTIONS | version\n";

function readHost(path: string): HostConfig {
  const host = JSON.parse(readFileSync(path, "utf8")) as HostConfig;
  if (host.version !== 1) throw new Error(`${path} has version ${String(host.version)}; this hcd reads 1.`);
  return host;
}

async function control(path: string): Promise<void> {
  const log = createLogger("hcd");
  const app = new App({ host: readHost(path), log, runner: logged(new LocalRunner(), log), parts: realParts });
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal }, "hcd stops; what serves goes on");
    // Stopping must not hang: the supervisor's patience is short, and everything can be taken up again.
    setTimeout(() => process.exit(0), 10_000).unref();
    void app.stop().then(() => process.exit(0), () => process.exit(0));
  };
  process.on("SIGTERM", () => end("SIGTERM"));
  process.on("SIGINT", () => end("SIGINT"));
  process.on("unhandledRejection", (error) => log.error({ err: error }, "a rejection was not handled"));
  await app.start();
}

async function main(argv: readonly string[]): Promise<void> {
  const [command, ...rest] = argv;
  switch (command) {
    case "control": return control(rest[0] ?? hostConfigFile(process.platform === "freebsd" ? freebsdPaths : defaultPaths));
    case "worker": {
      const { runWorker } = await import("./proxy/worker.js");
      return void (await runWorker(rest));
    }
    case "version":
      process.stdout.write(`${JSON.stringify({ version: hcdVersion, sha256: artefactSha256() })}\n`);
      return;
    default:
      process.stderr.write(usage);
      process.exitCode = 2;
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`hcd: ${messageOf(error)}\n`);
  process.exit(1);
});
