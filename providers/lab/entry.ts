import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";
import { entryExit, entryFile, entryFolder, type EntryRecord, type EntrySettings } from "./entry-record.js";
import { withLock } from "./lock.js";
import { isAlive } from "./processes.js";
import { removeIfEmpty } from "./registry.js";

/** One for all ports: the last one out removes the folder. */
const entriesLock = "local entries";

function readRecord(port: number): EntryRecord | undefined {
  try {
    return JSON.parse(readFileSync(entryFile(port), "utf8")) as EntryRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** The entry that listens on `port` now. Reads two small files. */
export function runningEntry(port: number): EntryRecord | undefined {
  const record = readRecord(port);
  return record !== undefined && isAlive(record.process) ? record : undefined;
}

/** All entries of one owner (a workspace) that run now. */
export function entriesOf(owner: string): EntryRecord[] {
  if (!existsSync(entryFolder)) return [];
  const ports = readdirSync(entryFolder).map((name) => /^([0-9]+)\.json$/.exec(name)?.[1]).filter((port) => port !== undefined);
  return ports.map((port) => runningEntry(Number(port))).filter((record) => record !== undefined && record.owner === owner) as EntryRecord[];
}

export function sameSettings(record: EntrySettings, wanted: EntrySettings): boolean {
  const part = ({ owner, name, port, targets, targetPort }: EntrySettings): string => JSON.stringify([owner, name, port, targets, targetPort]);
  return part(record) === part(wanted);
}

function portInUse(port: number, by: string): HcError {
  return new HcError("PORT_IN_USE", `port: ${by} listens on port ${port} of this machine already; choose another port for this entry.`, { context: { port } });
}

/** Starts the entry unless it runs with the same settings; one with other settings is started anew. Throws PORT_IN_USE. */
export function ensureEntry(settings: EntrySettings): Promise<EntryRecord> {
  return withLock(entriesLock, 60_000, async () => {
    // more than once: a start whose starter was killed may have come up with earlier settings meanwhile
    for (;;) {
      const present = runningEntry(settings.port) ?? (await launch(settings));
      if (present.owner !== settings.owner || present.name !== settings.name) throw portInUse(settings.port, `entry ${present.name} of ${present.owner}`);
      if (sameSettings(present, settings)) return present;
      await end(present);
    }
  });
}

async function launch(settings: EntrySettings): Promise<EntryRecord> {
  mkdirSync(entryFolder, { recursive: true, mode: 0o700 });
  const base = join(entryFolder, String(settings.port));
  writeFileSync(`${base}.settings`, JSON.stringify(settings), { mode: 0o600 });
  const log = openSync(`${base}.log`, "w", 0o600);
  const child = spawn(process.execPath, [join(__dirname, "entry-main.js"), `${base}.settings`], { detached: true, cwd: "/", stdio: ["ignore", log, log], env: {} });
  closeSync(log);
  let code: number | undefined;
  let looksAfterExit = 0;
  child.on("exit", (exit) => { code = exit ?? 1; });
  child.on("error", () => { code = entryExit.failed; });
  child.unref();
  return until(`start of entry ${settings.name}`, { withinMs: 30_000, firstMs: 20, capMs: 100 }, async () => {
    const running = runningEntry(settings.port);
    if (running !== undefined) return running;
    // the listener may be an entry of ours that is about to record itself
    if (code === entryExit.portInUse) looksAfterExit += 1;
    if (code === entryExit.portInUse && looksAfterExit < 10) return undefined;
    if (code === entryExit.portInUse) throw portInUse(settings.port, "another program");
    if (code !== undefined) throw new HcError("COMMAND_FAILED", `Entry ${settings.name} did not start: ${readFileSync(`${base}.log`, "utf8").trim()}`);
    return undefined;
  });
}

async function end(record: EntryRecord): Promise<void> {
  await until(`end of entry ${record.name}`, { withinMs: 10_000, firstMs: 5, capMs: 50 }, async () => {
    if (!isAlive(record.process)) return true;
    process.kill(record.process.pid, "SIGKILL"); // it holds nothing but connections
    return undefined;
  });
}

/** Ends the owner's entry on `port` and removes its traces. One that is not there, or not the owner's, is success. */
export function removeEntry(owner: string, name: string, port: number): Promise<void> {
  return withLock(entriesLock, 60_000, async () => {
    const record = readRecord(port);
    if (record !== undefined && (record.owner !== owner || record.name !== name)) return;
    if (record !== undefined && isAlive(record.process)) await end(record);
    for (const path of [entryFile(port), join(entryFolder, `${port}.settings`), join(entryFolder, `${port}.log`)]) rmSync(path, { force: true });
    removeIfEmpty(entryFolder);
  });
}
