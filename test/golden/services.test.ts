import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { defaultPaths, freebsdPaths } from "../../daemon/lib/node-config.js";
import { freebsdCommands, rcScript } from "../../daemon/platform/freebsd-commands.js";
import { linuxCommands, unitText } from "../../daemon/platform/linux-commands.js";
import type { ServiceDefinition } from "../../daemon/platform/platform.js";
import { siteService } from "../../daemon/services/container.js";
import { programs } from "../../daemon/services/programs.js";
import { apacheText, fpmText, vhostText } from "../../daemon/services/render-config.js";
import { servicePaths, socketPath } from "../../daemon/services/site-paths.js";
import type { SiteRun } from "../../daemon/services/site-services.js";

function expectGolden(name: string, text: string): void {
  const path = join(process.cwd(), "test/fixtures/services", name);
  if (process.env["HC_UPDATE_GOLDEN"] === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  expect(text).toBe(readFileSync(path, "utf8"));
}

const site: SiteRun = {
  unit: "site-wiki", name: "wiki", root: "/hc/site-wiki", user: "hc-acme", uid: 20001, gid: 20001, hostnames: ["www.wiki.example", "*.wiki.example", "wiki.example"],
  limits: { memory: "256M", cpu: 1.5, tasks: 64 }, php: { memory_limit: "96M", "date.timezone": "Europe/Berlin" }, ready: { path: "/", status: 0 }, node: "n1", epoch: 7,
};
const key = Buffer.alloc(32, 1);
const worker: ServiceDefinition = {
  name: "hcd-proxy", description: "HybridCluster proxy worker", argv: ["/usr/local/lib/hybridcluster/node", "worker", '{"a":"$HOME 100% \\"x\\""}'],
  user: "_hcproxy", restart: "always", capabilities: ["CAP_NET_BIND_SERVICE"], lowPorts: [80], environment: { GREETING: "50% of it's" }, reloadArgv: ["/bin/kill", "-HUP", "1"],
};

describe.each([
  { platform: "linux" as const, paths: defaultPaths },
  { platform: "freebsd" as const, paths: freebsdPaths },
])("files on $platform", ({ platform, paths }) => {
  const found = programs(platform, "8.2");
  const at = servicePaths({ paths });
  const socket = socketPath(at.socketFolder, site.unit, key);
  const text = (service: ServiceDefinition): string => (platform === "linux" ? unitText(service, paths) : rcScript(service, paths));

  test("Apache's base configuration", () => expectGolden(`${platform}/apache.conf`, apacheText(at, found, 8079)));
  test("a virtual host", () => expectGolden(`${platform}/vhost.conf`, vhostText(site, 8079, socket)));
  test("a pool of php-fpm", () => expectGolden(`${platform}/php-fpm.conf`, fpmText(site, socket, `${at.fpmLogFolder}/site-wiki.log`)));
  test("the service of a container", () => expectGolden(`${platform}/container.service`, text(siteService(site, { platform, phpFpm: found.phpFpm, config: `${at.fpmFolder}/site-wiki.conf`, writable: [at.socketFolder, at.fpmLogFolder], etc: at.etcFolder }))));
  test("the service of a user, with arguments that need quoting", () => expectGolden(`${platform}/worker.service`, text(worker)));
});

test("command lines", () => {
  const render = (commands: Record<string, (...args: never[]) => readonly string[]>, args: Record<string, unknown[]>): string =>
    Object.entries(commands).map(([name, make]) => `${name}: ${JSON.stringify(make(...((args[name] ?? ["hc-site-a"]) as never[])))}\n`).join("");
  const accounts = { addGroup: ["hc-a", 20001], addUser: ["hc-a", 20001, 20001] };
  expectGolden("linux/commands.txt", render(linuxCommands, { ...accounts, states: [["hc-site-a"]], stopSoon: [["hc-site-a", "hc-site-b"]], killAll: [["hc-site-a", "hc-site-b"]], daemonReload: [], passwd: [], log: ["hc-site-a", 50] }));
  expectGolden("freebsd/commands.txt", render(freebsdCommands, { ...accounts, killSupervisor: [freebsdPaths, "hc-site-a"], bootId: [], processes: [], passwd: [], memory: [], log: [freebsdPaths, "hc-site-a", 50] }));
});
