import { readFileSync } from "node:fs";
import type { Server } from "node:net";
import { writeFileAtomic } from "../../daemon/lib/atomic-file.js";
import { messageOf } from "../../daemon/lib/errors.js";
import { type EntryRecord, entryExit, entryFile, type EntrySettings, entryTarget } from "./entry-record.js";
import { forwarder } from "./entry-forward.js";
import { markOf } from "./processes.js";

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => resolve());
  });
}

/** The process behind LocalEntry: `entry-main.js <settings file>`. It records itself once it listens, so that it is found whoever started it. */
async function main(settingsFile: string): Promise<void> {
  const settings = JSON.parse(readFileSync(settingsFile, "utf8")) as EntrySettings;
  const options = { targets: settings.targets.map((address) => entryTarget(address, settings.targetPort)), connectTimeoutMs: 300, maxConnections: 512 };
  await listen(forwarder(options), "127.0.0.1", settings.port);
  try {
    await listen(forwarder(options), "::1", settings.port);
  } catch (error) {
    // a machine without IPv6 has no ::1; anything else is somebody else's listener
    if (!["EADDRNOTAVAIL", "EAFNOSUPPORT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  const process_ = markOf(process.pid);
  if (process_ === undefined) throw new Error("this process has no entry in /proc");
  const record: EntryRecord = { version: 1, ...settings, process: process_ };
  await writeFileAtomic(entryFile(settings.port), `${JSON.stringify(record)}\n`, { mode: 0o600 });
}

main(process.argv[2] ?? "").catch((error: unknown) => {
  process.stderr.write(`entry: ${messageOf(error)}\n`);
  process.exit((error as NodeJS.ErrnoException).code === "EADDRINUSE" ? entryExit.portInUse : entryExit.failed);
});
