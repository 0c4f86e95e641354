import { mkdir, readFile, readlink, rm, stat, symlink, unlink } from "node:fs/promises";
import { isIP } from "node:net";
import { readFileIfAny, writeFileAtomic } from "../lib/atomic-file.js";
import type { SiteRun } from "./site-services.js";

/** Files of the host's /etc that a site sees. */
export const sharedFiles = ["localtime", "timezone", "resolv.conf", "hosts", "nsswitch.conf", "ld.so.cache", "mime.types", "services", "protocols", "gai.conf", "host.conf"] as const;
/** Folders of the host's /etc that are mounted in it. */
export const sharedFolders = ["ssl", "ca-certificates", "alternatives"] as const;
/** Where the copies of the shared files are mounted in a site's /etc. */
const hostName = ".host";

/** Pure: the users and groups that a site knows. */
export const passwdText = ({ user, uid, gid, name }: SiteRun): string => `root:x:0:0:root:/:/usr/sbin/nologin\n${user}:x:${uid}:${gid}:${name}:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n`;
export const groupText = ({ user, gid }: SiteRun): string => `root:x:0:\n${user}:x:${gid}:\nnogroup:x:65534:\n`;

/**
 * Pure: the host's hosts(5) file, and the site's own host names at loopback, where this node's proxy listens: what a site asks itself does not leave its home, and passes its own hold (proxy/own-calls.ts).
 * A name that the host's file has already means what that says; wildcards cannot stand there.
 */
export function hostsText(host: string, hostnames: readonly string[]): string {
  const known = new Set(host.split("\n").flatMap((line) => line.replace(/#.*/, "").trim().split(/\s+/).slice(1)).map((name) => name.toLowerCase()));
  const lines = hostnames.filter((name) => !name.includes("*") && isIP(name.replace(/^\[|\]$/g, "")) === 0 && !known.has(name)).map((name) => `127.0.0.1 ${name}\n`);
  return `${host}${host === "" || host.endsWith("\n") ? "" : "\n"}${lines.join("")}`;
}

/** Pure: what is mounted at a site's /etc, source on the host and target in the container; outer ones first. */
export const etcMounts = (folder: string, unit: string): { source: string; target: string }[] => [
  { source: `${folder}/${unit}`, target: "/etc" },
  { source: `${folder}/host`, target: `/etc/${hostName}` },
  ...sharedFolders.map((name) => ({ source: `/etc/${name}`, target: `/etc/${name}` })),
];

/**
 * The /etc of sites on Linux, below /run: `<folder>/<unit>` a site's own, `<folder>/host` copies of the host's files for all of them, to which links in the first lead. Two mounts a container instead
 * of one for each file: the supervisor reads the whole table of mounts again for each read-only one, and that was an eighth of what a node that takes over many sites does. A copy is replaced by a
 * rename, so that running sites see either the old file or the new one. `hosts` is a file of the site's own (hostsText).
 */
export class SiteEtc {
  /** name → what its copy was made from. */
  private readonly copied = new Map<string, string>();
  /** unit → the names that lead it to loopback, of those that have a folder here. */
  private readonly named = new Map<string, readonly string[]>();
  /** One write of hosts files after the other, each of what is known then. */
  private writing: Promise<void> = Promise.resolve();

  /** `names`: sites find themselves at loopback. */
  public constructor(private readonly folder: string, private readonly names: boolean, private readonly host = "/etc") {}

  /** Copies what has changed on the host. */
  public async refresh(): Promise<void> {
    await mkdir(`${this.folder}/host`, { recursive: true, mode: 0o755 });
    for (const name of sharedFiles) {
      const copy = `${this.folder}/host/${name}`;
      const seen = await stat(`${this.host}/${name}`).catch(() => undefined);
      const sign = seen === undefined ? "" : `${seen.ino} ${seen.size} ${seen.mtimeMs}`;
      if (this.copied.get(name) === sign) continue;
      if (seen === undefined) await unlink(copy).catch(() => undefined);
      else {
        const [text, before] = [await readFile(`${this.host}/${name}`), await readFile(copy).catch(() => undefined)];
        if (before?.equals(text) !== true) await writeFileAtomic(copy, text);
      }
      this.copied.set(name, sign);
      if (name === "hosts") await this.writeHosts();
    }
  }
  /** All sites as they are configured now: those that run here learn of other host names. */
  public async follow(sites: readonly Pick<SiteRun, "unit" | "hostnames" | "secured">[]): Promise<void> {
    for (const site of sites) if ((await stat(`${this.folder}/${site.unit}`).catch(() => undefined)) !== undefined) this.named.set(site.unit, this.namesOf(site));
    await this.writeHosts();
  }

  /** A site's own, with the copies it leads to. */
  public async prepare(site: SiteRun): Promise<void> {
    await this.refresh();
    const own = `${this.folder}/${site.unit}`;
    for (const name of [hostName, ...sharedFolders]) await mkdir(`${own}/${name}`, { recursive: true, mode: 0o755 });
    for (const name of sharedFiles) {
      if (name === "hosts") continue;
      const target = `${hostName}/${name}`;
      if ((await readlink(`${own}/${name}`).catch(() => "")) !== target) await symlink(target, `${own}/${name}`);
    }
    for (const [name, text] of [["passwd", passwdText(site)], ["group", groupText(site)]] as const) if ((await readFileIfAny(`${own}/${name}`)) !== text) await writeFileAtomic(`${own}/${name}`, text);
    this.named.set(site.unit, this.namesOf(site));
    await this.writeHosts([site.unit]);
  }

  public async forget(unit: string): Promise<void> {
    this.named.delete(unit);
    await this.writing.catch(() => undefined);
    await rm(`${this.folder}/${unit}`, { recursive: true, force: true });
  }

  /** Only where this proxy answers by HTTP and HTTPS: else the site's HTTPS, if it has any, is ended by somebody before us, whom it has to find by DNS. */
  private namesOf({ hostnames, secured }: Pick<SiteRun, "hostnames" | "secured">): readonly string[] {
    return this.names && secured === true ? hostnames : [];
  }
  /** One that fails stops no other. */
  private writeHosts(units: Iterable<string> = this.named.keys()): Promise<void> {
    const wanted = [...units];
    let failure: Error | undefined;
    const done = this.writing.catch(() => undefined).then(async () => {
      const host = (await readFileIfAny(`${this.folder}/host/hosts`)) ?? "";
      for (const unit of wanted) {
        const [path, hostnames] = [`${this.folder}/${unit}/hosts`, this.named.get(unit)];
        if (hostnames === undefined) continue; // forgotten meanwhile
        const text = hostsText(host, hostnames);
        // a link, as the version before has made it, leads nowhere from here
        if ((await readFileIfAny(path)) === text) continue;
        await writeFileAtomic(path, text).catch((error: NodeJS.ErrnoException) => {
          if (error.code === "ENOENT") this.named.delete(unit); // its folder has gone
          else failure ??= error;
        });
      }
      if (failure !== undefined) throw failure;
    });
    this.writing = done;
    return done;
  }
}
