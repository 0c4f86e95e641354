import { mkdir, readdir, rm, unlink } from "node:fs/promises";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";

/** What has to change in a folder of `<name>.conf` files. Pure. */
export interface ConfigChange { write: Map<string, string>; remove: string[] }
export function compareConfigs(present: ReadonlyMap<string, string>, wanted: ReadonlyMap<string, string>, keep: ReadonlySet<string>): ConfigChange {
  return {
    write: new Map([...wanted].filter(([name, text]) => present.get(name) !== text)),
    remove: [...present.keys()].filter((name) => !wanted.has(name) && !keep.has(name)).sort(),
  };
}

/** A folder of configuration files, one a unit, that is changed as a whole or not at all. */
export class ConfigFolder {
  public constructor(private readonly folder: string) {}

  public async read(): Promise<Map<string, string>> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const found = new Map<string, string>();
    for (const file of (await readdir(this.folder)).sort()) {
      if (!file.endsWith(".conf")) continue;
      const text = await readFileIfAny(`${this.folder}/${file}`);
      if (text !== undefined) found.set(file.slice(0, -".conf".length), text);
    }
    return found;
  }

  /** Writes the new texts beside the folder for a test run of their service; returns that folder. */
  public async stage(texts: ReadonlyMap<string, string>): Promise<string> {
    const staged = `${this.folder}.staged`;
    await rm(staged, { recursive: true, force: true });
    await mkdir(staged, { recursive: true, mode: 0o700 });
    for (const [name, text] of texts) await writeFileAtomic(`${staged}/${name}.conf`, text, { mode: 0o600 });
    return staged;
  }

  /** Each file changes at once; returns what puts the former ones back. */
  public async apply(change: ConfigChange, before: ReadonlyMap<string, string>): Promise<() => Promise<void>> {
    for (const [name, text] of change.write) await writeFileAtomic(`${this.folder}/${name}.conf`, text, { mode: 0o600 });
    for (const name of change.remove) await unlink(`${this.folder}/${name}.conf`).catch(() => undefined);
    await rm(`${this.folder}.staged`, { recursive: true, force: true });
    return async () => {
      const undo: ConfigChange = {
        write: new Map([...change.write.keys(), ...change.remove].flatMap((name) => (before.has(name) ? [[name, before.get(name) as string]] : []))),
        remove: [...change.write.keys()].filter((name) => !before.has(name)),
      };
      await this.apply(undo, new Map());
    };
  }
}
