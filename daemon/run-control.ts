import { App } from "./app.js";
import { logged } from "./lib/command.js";
import { createLogger } from "./lib/log.js";
import type { HostConfig } from "./lib/node-config.js";
import { ShellRunner } from "./lib/shell-runner.js";
import { realParts } from "./real-parts.js";

/** hcd runs before what it starts (`Nice=-10`, templates/host): a hundred zfs commands of fifty sites that start are not in the way of its sign of life. */
const commandNiceness = 0;

/** hcd.cjs control: the control process, until a signal ends it. */
export async function runControl(host: HostConfig): Promise<void> {
  const log = createLogger("hcd");
  const app = new App({ host, log, runner: logged(new ShellRunner(commandNiceness), log), parts: realParts, restart: () => process.exit(1) });
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
