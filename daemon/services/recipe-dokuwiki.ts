import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderTemplate } from "../../templates/render.js";
import { copyResolved, unpackPackages } from "./debian-packages.js";
import type { Build } from "./recipe.js";

/** A hash that no password has (crypt(3): "*" is no valid hash). Without a hash in the settings nobody can log in until one is set. */
const locked = "*";

/**
 * DokuWiki, flattened from Debian's split over /usr/share, /etc and /var: `www` (entry points, plug-ins, templates), `share` (DokuWiki's core and the libraries
 * that Debian packages apart), `data/conf` and `data/wiki`. `share` stays root's in each clone: a site cannot be made to change its own core, and
 * 3,000 files less change their owner, which keeps a fresh clone below 5 % of its template. Paths are those inside the container, so clones under any name and host name work.
 */
export async function buildDokuwiki({ recipeFile, packagesDir, runner, root, settings, signal }: Build): Promise<Record<string, string>> {
  const work = await mkdtemp(join(tmpdir(), "hc-template-"));
  try {
    const packages = await unpackPackages(runner, recipeFile.packages, packagesDir, work, signal);
    for (const { name, root: unpacked } of packages) if (name === "dokuwiki") await rewriteLibraries(unpacked);
    await copyResolved(packages, "/usr/share/dokuwiki", `${root}/www`);
    // Debian links these from the application to /var; copyResolved has brought in what the links lead to
    for (const library of ["php", "php-geshi", "javascript"]) await copyResolved(packages, `/usr/share/${library}`, `${root}/share/${library}`);
    await copyResolved(packages, "/etc/dokuwiki", `${root}/data/conf`);
    await copyResolved(packages, "/var/lib/dokuwiki/data", `${root}/data/wiki`);
    for (const leftover of ["www/install.php", "www/.htaccess", "www/.htaccess.dist", "www/.htaccess.dist.md5sum", "data/wiki/deleted.files", "data/conf/mysql.conf.php.example"]) await rm(join(root, leftover), { force: true });
    await configure(root, settings);
    for (const core of ["inc", "vendor"]) {
      await rename(`${root}/www/${core}`, `${root}/share/dokuwiki-${core}`);
      await symlink(`/share/dokuwiki-${core}`, `${root}/www/${core}`);
    }
    return Object.fromEntries(packages.map(({ name, version }) => [name, version]));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Debian's patches name /usr/share/…; the dataset has its own copies in /share. */
async function rewriteLibraries(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".php")) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, "latin1"); // byte for byte
    const changed = text.replace(/(['"])\/usr\/share\/(php|php-geshi|javascript)\//g, "$1/share/$2/");
    if (changed !== text) await writeFile(path, changed, "latin1");
  }
}

async function configure(root: string, settings: Record<string, string>): Promise<void> {
  const data = { ...settings, hash: settings["adminPasswordHash"] === "" ? locked : settings["adminPasswordHash"] };
  const write = (path: string, template: string): Promise<void> => writeFile(join(root, path), renderTemplate(`recipes/dokuwiki/${template}.hbs`, data));
  for (const folder of ["attic", "cache", "index", "locks", "log", "media", "media_attic", "media_meta", "meta", "pages", "tmp"]) await mkdir(`${root}/data/wiki/${folder}`, { recursive: true });
  await write("www/inc/preload.php", "preload.php");
  await write("data/conf/local.php", "local.php");
  await write("data/conf/acl.auth.php", "acl.auth.php");
  await write("data/conf/users.auth.php", "users.auth.php");
  await write("data/wiki/pages/start.txt", "start.txt");
  await writeFile(`${root}/www/.htaccess`, "# Not for browsers: libraries and command line\nRewriteEngine On\nRewriteRule ^(bin|inc|vendor)/ - [F,L]\n");
}
