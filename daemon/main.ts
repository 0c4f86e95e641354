import { messageOf } from "./lib/errors.js";
import { defaultPaths, freebsdPaths, hostConfigFile } from "./lib/node-config.js";
import { readHost } from "./read-host.js";
import { artefactSha256, hcdVersion } from "./version.js";

/** hcd.cjs control [host.json] · fencer [host.json] · worker OPTIONS · version. Each loads its own parts only: the fencer is small. */
const usage = "usage: hcd.cjs control [HOST.JSON] | fencer [HOST.JSON] | worker OPTIONS | version\n";

async function main(argv: readonly string[]): Promise<void> {
  const [command, ...rest] = argv;
  const hostFile = rest[0] ?? hostConfigFile(process.platform === "freebsd" ? freebsdPaths : defaultPaths);
  const host = () => readHost(hostFile);
  switch (command) {
    case "control": {
      const { runControl } = await import("./run-control.js");
      return runControl(host());
    }
    case "fencer": {
      const { runFencer } = await import("./fencer/run-fencer.js");
      return runFencer(host(), hostFile);
    }
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
