import { pbkdf2Sync } from "node:crypto";
import type { SiteRun } from "../../daemon/services/site-services.js";
import { platformContract } from "../contract/platform.js";
import { withLab } from "../support/lab.js";
import { type NodeServices, servicesOn } from "../support/services-node.js";

jest.setTimeout(180_000);
const lab = withLab(1);
let node: NodeServices;
const sh = (script: string): Promise<string> => lab.node("n1").sh(script, { timeoutMs: 60_000 });
/** One request through our Apache: status line, headers and body. */
const get = async (host: string, path: string, options = ""): Promise<string> => (await sh(`curl -si --max-time 20 -H 'Host: ${host}' ${options} 'http://127.0.0.1:8079${path}'`)).replace(/\r/g, "");
const status = (answer: string): number => Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);

const site = (name: string, number: number, more: Partial<SiteRun> = {}): SiteRun => ({
  unit: `site-${name}`, name, root: `/hc/site-${name}`, user: `hc-${name}`, uid: 20_000 + number, gid: 20_000 + number, hostnames: [`${name}.example`, `*.${name}.example`],
  limits: { memory: "128M", cpu: 0.5, tasks: 24 }, php: { memory_limit: "1G" }, ready: { path: "/", status: 200 }, node: "n1", epoch: 3, ...more,
});
const [a, b, wiki] = [site("a", 1), site("b", 2), site("wiki", 3, { limits: { memory: "256M", cpu: 1, tasks: 64 }, php: {}, ready: { path: "/doku.php", status: 200 } })];
const own = (run: SiteRun): string => `cd ${run.root}; chown -R -h ${run.uid}:${run.gid} www data tmp log`;

beforeAll(async () => {
  node = await servicesOn(lab.node("n1").runner);
  await sh("id _hcweb 2>/dev/null || useradd --system --no-create-home --shell /usr/sbin/nologin _hcweb; zpool create -f hpool /disks/d0.img; zfs create -o mountpoint=/hc hpool/hc; for f in site-a site-b tmpl-wiki; do zfs create hpool/hc/$f; done");
  for (const run of [a, b]) {
    await node.build({ recipe: "php", version: "1", settings: {}, root: run.root });
    await sh(own(run));
  }
  await node.services.ensureBase();
}, 600_000);

platformContract("linux (lab node)", () => ({
  platform: node.platform,
  uid: 23_000,
  crash: async (name) => void (await sh(`systemctl kill --kill-whom=main --signal=SEGV ${name}.service`)),
  processes: async (name) => Number(await sh(`d=/sys/fs/cgroup/systemd/system.slice/${name}.service; [ -d "$d" ] || d=/sys/fs/cgroup/system.slice/${name}.service; if [ -d "$d" ]; then wc -l < "$d/cgroup.procs"; else echo 0; fi`)),
}));

describe("two sites", () => {
  beforeAll(async () => {
    expect(await node.services.configure([a, b])).toEqual({ changed: true });
    await node.services.start(a);
    await node.services.start(b);
    await sh(`mkdir -p /hc/site-a/www/{pretty,link,value}; cd /hc/site-a/www
      printf 'Options +FollowSymLinks\\nRewriteEngine On\\nRewriteRule ^to/(.*)$ /index.php?json [L]\\n' > pretty/.htaccess
      printf 'Options +FollowSymLinks\\n' > link/.htaccess; ln -s /hc/site-b/www/secret.txt link/leak.txt; ln -s fine.txt link/own.txt; echo fine > link/fine.txt
      printf 'php_value memory_limit 1G\\n' > value/.htaccess; echo x > value/x.txt
      printf 'Header set X-Leak "expr=%%{file:/hc/site-b/www/secret.txt}"\\n' > value/leak.htaccess
      echo secret-of-b > /hc/site-b/www/secret.txt
      cat > probe.php <<'PHP'
<?php
switch ($_GET['do']) {
  case 'see': echo json_encode(['root' => scandir('/'), 'hc' => scandir('/hc'), 'proc' => @scandir('/proc'), 'run' => @scandir('/run'), 'b' => @file_get_contents('/hc/site-b/www/secret.txt'), 'ps' => (string) shell_exec('ps ax 2>/dev/null | tail -n +2'), 'write' => @file_put_contents('/usr/x', 'x'), 'id' => trim(shell_exec('id -u')), 'caps' => @file_get_contents('/etc/shadow')]); break;
  case 'pipe': echo shell_exec('mkfifo ' . __DIR__ . '/pipe 2>&1'), file_exists(__DIR__ . '/pipe') ? 'made' : 'none'; break;
  case 'eat': $s = []; for ($i = 0; $i < 400; $i++) $s[] = random_bytes(1 << 20); echo 'ate ', count($s); break;
  case 'burn': $t = hrtime(true); $c = getrusage(); while (hrtime(true) - $t < 3e9); $d = getrusage(); echo ($d['ru_utime.tv_sec'] - $c['ru_utime.tv_sec']) + ($d['ru_utime.tv_usec'] - $c['ru_utime.tv_usec']) / 1e6; break;
  case 'fork': echo shell_exec('for i in $(seq 60); do sleep 3 & done 2>/tmp/fork.err; jobs -p | wc -l; wait') . file_get_contents('/tmp/fork.err'); break;
}
PHP
      chown -R -h ${a.uid}:${a.gid} /hc/site-a/www/*; chown ${b.uid}:${b.gid} /hc/site-b/www/secret.txt`);
  });

  test("make no pipes: one in the place of an .htaccess would stop a thread of the web server, which all share, for each request", async () => {
    expect(await get("a.example", "/probe.php?do=pipe")).toMatch(/not permitted[\s\S]*none$/);
  });
  test("are served by name, with their facts; other names get a 404 of their own", async () => {
    expect(JSON.parse((await get("a.example", "/?json")).split("\n\n")[1] ?? "")).toMatchObject({ unit: "site-a", node: "n1", epoch: 3, host: "a.example" });
    expect(JSON.parse((await get("deep.b.example", "/?json")).split("\n\n")[1] ?? "")).toMatchObject({ unit: "site-b" });
    expect(status(await get("nobody.example", "/"))).toBe(404);
    expect((await sh("curl -s -g -H 'Host: a.example' 'http://[::1]:8079/?json'"))).toContain('"unit":"site-a"');
    expect(await node.services.check(a)).toMatchObject({ ok: true, status: 200 });
    expect(await node.services.check(site("zz", 9))).toMatchObject({ ok: false, status: 0 });
    expect(await node.services.states()).toEqual(new Map([["site-a", "active"], ["site-b", "active"]]));
  });

  test("bring their .htaccess; links to others stay closed; what is refused is in the site's log alone", async () => {
    expect(await get("a.example", "/pretty/to/x")).toContain('"unit":"site-a"');
    expect(status(await get("a.example", "/link/own.txt"))).toBe(200);
    expect(status(await get("a.example", "/link/leak.txt"))).toBe(403);
    expect(status(await get("a.example", "/value/x.txt"))).toBe(500);
    await sh("cd /hc/site-a/www/value; mv leak.htaccess .htaccess");
    const leak = await get("a.example", "/value/x.txt");
    expect(leak).not.toContain("secret-of-b");
    expect(await node.services.logs("site-a", 50)).toMatch(/Invalid command 'php_value'/);
    expect(await node.services.logs("site-b", 50)).not.toContain("php_value");
    expect(await get("a.example", "/link", "")).toContain("Location: http://a.example/link/");
  });

  test("see neither each other's files nor processes, nor the host's", async () => {
    const seen = JSON.parse((await get("a.example", "/probe.php?do=see")).split("\n\n")[1] ?? "") as Record<string, unknown>;
    expect(seen).toMatchObject({ hc: [".", "..", "site-a"], proc: false, run: false, b: false, ps: "", write: false, id: String(a.uid), caps: false });
    expect(seen["root"]).not.toContain("root");
  });

  test("their programs, before their own chroot, have a root that they cannot write to, with no other's files in it", async () => {
    const master = `/proc/$(systemctl show hc-site-a -P MainPID)/root`;
    expect(await sh(`cd ${master}; echo hc/*; echo hc/site-a/www/probe.php hc/site-b/*; readlink lib; { touch x hc/site-b/x usr/x etc/x 2>&1 || true; } | grep -c Read-only`)).toBe("hc/site-a hc/site-b\nhc/site-a/www/probe.php hc/site-b/*\nusr/lib\n4\n");
  });

  test("reach no other's FPM through a handler of their own, as nobody tells them its socket", async () => {
    expect(await sh("stat -c %a /run/hybridcluster/fpm; stat -c '%a %U' /run/hybridcluster/fpm/site-b-*.sock; stat -c '%a %U' /etc/hybridcluster/fpm-socket.key /etc/hybridcluster/apache/sites/site-b.conf")).toBe("711\n600 _hcweb\n600 root\n600 root\n");
    expect((await lab.node("n1").exec(["setpriv", "--reuid=_hcweb", "--regid=_hcweb", "--clear-groups", "ls", "/run/hybridcluster/fpm"])).code).not.toBe(0);
  });

  test("have limits that hold: memory, processor, tasks; the other site goes on", async () => {
    const eaten = await get("a.example", "/probe.php?do=eat");
    expect(eaten).not.toContain("ate 400");
    expect(Number((await get("a.example", "/probe.php?do=burn")).split("\n\n")[1])).toBeLessThan(2.25); // of 3 s at half a processor, with slack for the period
    expect(await get("a.example", "/probe.php?do=fork")).toMatch(/fork/i);
    expect(await node.services.check(b)).toMatchObject({ ok: true });
    expect(await node.services.check(a)).toMatchObject({ ok: true });
    expect(await sh("systemctl show hc-site-a.service -P MemoryMax; systemctl show hc-site-a.service -P TasksMax")).toBe("134217728\n24\n");
  });

  test("an equal set changes nothing and reloads nothing; a start of what runs is none; a new epoch needs no reload", async () => {
    const apache = await sh("systemctl show hcd-apache -P MainPID; systemctl show hcd-apache -P StateChangeTimestampMonotonic; stat -c %Y%i /etc/hybridcluster/apache/sites/*");
    const main = await sh("systemctl show hc-site-a -P MainPID");
    expect(await node.services.configure([b, a])).toEqual({ changed: false });
    await node.services.start(a);
    expect(await sh("systemctl show hc-site-a -P MainPID")).toBe(main);
    await node.services.start({ ...a, epoch: 4 });
    expect(await get("a.example", "/?json")).toContain('"epoch":4');
    expect(await sh("systemctl show hcd-apache -P MainPID; systemctl show hcd-apache -P StateChangeTimestampMonotonic; stat -c %Y%i /etc/hybridcluster/apache/sites/*")).toBe(apache);
  });

  test("a site with a refused setting stops nobody, says so at its start, and keeps what it has", async () => {
    const bad = { ...a, php: { extension: "evil.so" }, hostnames: ["changed.example"] };
    await node.services.configure([bad, b]);
    await expect(node.services.start(bad)).rejects.toMatchObject({ code: "CONFIG_REFUSED" });
    expect(status(await get("a.example", "/"))).toBe(200);
    expect(status(await get("changed.example", "/"))).toBe(404);
    await node.services.configure([a, b]);
  });

  test("what Apache refuses is not put in force, and the old one serves", async () => {
    await sh("cp /etc/hybridcluster/apache/apache.conf /root/apache.saved; printf 'Nonsense\\n' >> /etc/hybridcluster/apache/apache.conf");
    await expect(node.services.configure([{ ...a, hostnames: ["other.example"] }, b])).rejects.toMatchObject({ code: "CONFIG_REFUSED" });
    expect(status(await get("a.example", "/"))).toBe(200);
    await sh("cp /root/apache.saved /etc/hybridcluster/apache/apache.conf");
    await node.services.ensureBase();
    expect(status(await get("a.example", "/"))).toBe(200);
    expect(status(await get("other.example", "/"))).toBe(404);
  });

  test("a stop releases the dataset at once, also of what was mounted when another site started", async () => {
    await sh("zfs create hpool/hc/late"); // mounted while b starts
    await node.services.stop("site-b");
    await node.services.start(b);
    await sh("zfs unmount hpool/hc/late; zfs destroy hpool/hc/late");
    await node.services.stop("site-a");
    await sh("zfs unmount hpool/hc/site-a; zfs rename hpool/hc/site-a hpool/hc/gone");
    expect(await node.services.states()).toEqual(new Map([["site-a", "inactive"], ["site-b", "active"]]));
    await node.services.stop("site-a");
    await node.services.configure([b]);
    expect(await node.services.states()).toEqual(new Map([["site-b", "active"]]));
    expect(status(await get("a.example", "/"))).toBe(404);
  });
});

describe("DokuWiki", () => {
  const password = "correct horse 1";
  const used = async (): Promise<number[]> => (await sh("zfs get -Hp -o value written hpool/hc/site-wiki > /dev/null; zfs get -Hp -o value used hpool/hc/site-wiki; zfs get -Hp -o value referenced hpool/hc/tmpl-wiki")).trim().split("\n").map(Number);

  test("is built from Debian's packages, cloned, and shares its template's blocks", async () => {
    const hash = `pbkdf2_sha256$24000$abcdefghijkl$${pbkdf2Sync(password, "abcdefghijkl", 24_000, 32, "sha256").toString("base64")}`;
    const report = await node.build({ recipe: "dokuwiki", version: "1", settings: { title: "It's \"our\" wiki", adminPasswordHash: hash }, root: "/hc/tmpl-wiki" });
    expect(report.packages["dokuwiki"]).toMatch(/\d/);
    expect(await sh("grep -rl /usr/share/ /hc/tmpl-wiki/www /hc/tmpl-wiki/share --include=*.php | xargs -r grep -lE \"['\\\"]/usr/share/(php|javascript)\" || true")).toBe("");
    await sh(`zfs snapshot hpool/hc/tmpl-wiki@1; zfs clone hpool/hc/tmpl-wiki@1 hpool/hc/site-wiki; ${own(wiki)}`);
    await node.services.configure([b, wiki]);
    await node.services.start(wiki);
    expect(await node.services.check(wiki)).toMatchObject({ ok: true, status: 200 });
    const [clone, template] = await used();
    expect((clone as number) / (template as number)).toBeLessThan(0.05);
  });

  test("answers under any of its names; what is not for browsers is closed", async () => {
    expect(await get("wiki.example", "/doku.php?id=start")).toContain("It&#039;s");
    expect(status(await get("x.wiki.example", "/lib/exe/css.php"))).toBe(200);
    expect((await get("wiki.example", "/lib/exe/jquery.php")).length).toBeGreaterThan(100_000);
    for (const path of ["/inc/init.php", "/vendor/autoload.php", "/bin/dwpage.php", "/data/conf/users.auth.php"]) expect([403, 404]).toContain(status(await get("wiki.example", path)));
    expect(await get("wiki.example", "/doku.php?do=register")).not.toContain('name="fullname"');
    expect(await get("wiki.example", "/doku.php?id=other&do=edit")).not.toContain('name="wikitext"');
  });

  test("lets its administrator log in and edit a page", async () => {
    const answer = await sh(`cd /root; rm -f jar; ask() { curl -s -b jar -c jar -H 'Host: wiki.example' "$@"; }
      ask -o /dev/null 'http://127.0.0.1:8079/doku.php?id=start&do=login'
      ask -o /dev/null -d id=start -d do=login -d u=admin --data-urlencode 'p=${password}' http://127.0.0.1:8079/doku.php
      ask 'http://127.0.0.1:8079/doku.php?id=notes&do=edit' > edit.html
      hidden() { grep -o "name=\\"$1\\" value=\\"[^\\"]*" edit.html | tail -1 | sed 's/.*value="//'; }
      ask -o /dev/null -d id=notes -d "sectok=$(hidden sectok)" -d "changecheck=$(hidden changecheck)" -d rev=0 -d prefix=. -d suffix= -d target=section --data-urlencode 'wikitext=written through HTTP' -d 'do[save]=1' http://127.0.0.1:8079/doku.php
      curl -s -H 'Host: wiki.example' 'http://127.0.0.1:8079/doku.php?id=notes'; cat /hc/site-wiki/data/wiki/pages/notes.txt; stat -c %u /hc/site-wiki/data/wiki/pages/notes.txt`);
    expect(answer).toContain("<p>\nwritten through HTTP\n</p>");
    expect(answer.trim().endsWith(`written through HTTP${wiki.uid}`) || answer.trim().endsWith(`written through HTTP\n${wiki.uid}`)).toBe(true);
    const wrong = await sh("curl -s -H 'Host: wiki.example' -d id=start -d do=login -d u=admin -d p=wrong http://127.0.0.1:8079/doku.php");
    expect(wrong).toMatch(/wrong|incorrect|Sorry/i);
  });
});
