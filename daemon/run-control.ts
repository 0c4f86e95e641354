import { App } from "./app.js";
import { logged } from "./lib/command.js";
import { LocalRunner } from "./lib/local-runner.js";
import { createLogger } from "./lib/log.js";
import type { HostConfig } from "./lib/node-config.js";
import { realParts } from "./real-parts.js";

/** hcd.cjs control: the control process, until a signal ends it. */
export async function runControl(host: HostConfig): Promise<void> {
  const log = createLogger("hcd");
  const app = new App({ host, log, runner: logged(new LocalRunner(), log), parts: realParts, restart: () => process.exit(1) });
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
