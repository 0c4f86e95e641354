import fc from "fast-check";
import { errorCode } from "../../../daemon/lib/errors.js";
import { defaultPaths } from "../../../daemon/lib/node-config.js";
import { unitPath, unitText } from "../../../daemon/platform/linux-commands.js";
import { checkPhpSettings } from "../../../daemon/platform/php-settings.js";
import { childrenOf, fpmText, vhostText } from "../../../daemon/services/render-config.js";
import { socketPath } from "../../../daemon/services/site-paths.js";
import type { SiteRun } from "../../../daemon/services/site-services.js";

const site: SiteRun = {
  unit: "site-a", name: "a", root: "/hc/site-a", user: "hc-a", uid: 20001, gid: 20001, hostnames: ["a.example"],
  limits: { memory: "256M", cpu: 1, tasks: 64 }, php: {}, ready: { path: "/", status: 0 }, node: "n1", epoch: 1,
};
const refusal = (act: () => unknown): string | undefined => {
  try {
    act();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
};

describe("settings of PHP", () => {
  test.each([
    ["extension", "evil.so"], ["open_basedir", "/"], ["auto_prepend_file", "/etc/passwd"], ["error_log", "/hc/site-b/x"], ["session.save_path", "/hc"], ["sendmail_path", "/bin/sh"],
    ["zend_extension", "x"], ["memory_limit", "1G\nuser = root"], ["memory_limit", '1G"'], ["memory_limit", "${PATH}"], ["memory_limit", "%{file:/etc/passwd}"], ["date.timezone", "../../etc/passwd;x"],
    ["user_agent", "a\"\nphp_admin_value[extension] = x"], ["user_agent", "$pool"], ["__proto__", "1"], ["constructor", "1"],
  ])("%s = %j is refused, with its name", (name, value) => {
    const php = Object.fromEntries([[name, value]]);
    expect(checkPhpSettings(php)).toMatchObject([{ property: `php.${name}` }]);
    expect(refusal(() => fpmText({ ...site, php }, "/run/a.sock", "/var/log/a"))).toBe("CONFIG_REFUSED");
  });
  test("a usual one stands in the pool", () => {
    expect(checkPhpSettings({ memory_limit: "96M", display_errors: "on" })).toEqual([]);
    expect(fpmText({ ...site, php: { memory_limit: "96M" } }, "/run/a.sock", "/var/log/a")).toContain('\nphp_admin_value[memory_limit] = "96M"\n');
  });
  test("whatever is let through makes exactly one line each", () => {
    const lines = fpmText(site, "/run/a.sock", "/var/log/a").split("\n").length;
    fc.assert(fc.property(fc.constantFrom("user_agent", "error_reporting", "memory_limit", "date.timezone", "session.name"), fc.string(), (name, value) => {
      const php = { [name]: value };
      if (checkPhpSettings(php).length > 0) return;
      const text = fpmText({ ...site, php }, "/run/a.sock", "/var/log/a");
      expect(text.split("\n")).toHaveLength(lines + 1);
      expect(text).toContain(`php_admin_value[${name}] = "${value}"\n`);
    }), { numRuns: 2_000 });
  });
});

describe("virtual hosts", () => {
  test.each(["a.example\nInclude /etc/passwd", 'a"b', "a b", "", "A.example", "a..b", "%{HTTP_HOST}", "${PATH}", "-a", "a.example>", "*"])("host name %j is refused", (name) => {
    expect(refusal(() => vhostText({ ...site, hostnames: [name] }, 8079, "/run/a.sock"))).toBe("CONFIG_REFUSED");
  });
  test("a wildcard and an address are names", () => {
    const text = vhostText({ ...site, hostnames: ["*.a.example", "[fd77::1]"] }, 8079, "/run/a.sock");
    expect(text).toContain('ServerAlias "*.a.example"');
    expect(text).toContain('ServerAlias "[fd77::1]"');
  });
  test("the root's path cannot end its quotes", () => {
    expect(vhostText({ ...site, root: '/hc/a"b' }, 8079, "/run/a.sock")).toContain('DocumentRoot "/hc/a\\"b/www"');
    expect(refusal(() => vhostText({ ...site, root: "/hc/${x}" }, 8079, "/run/a.sock"))).toBe("CONFIG_REFUSED");
  });
  test("nobody computes another unit's socket without the key", () => {
    const [one, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    expect(socketPath("/run/fpm", "site-a", one)).not.toBe(socketPath("/run/fpm", "site-a", other));
    expect(socketPath("/run/fpm", "site-a", one).split("-").at(-1)).not.toBe(socketPath("/run/fpm", "site-b", one).split("-").at(-1));
    // sun_path of FreeBSD, unix(4)
    expect(socketPath("/var/run/hybridcluster/fpm", `site-${"x".repeat(32)}`, one).length).toBeLessThan(104);
  });
});

describe("units", () => {
  const service = { name: "hc-x", description: "x", argv: ["/bin/true"], restart: "never" as const };
  test.each([["a\nExecStartPre=/bin/evil"], ["a\0b"]])("an argument %j is refused", (argument) => {
    expect(refusal(() => unitText({ ...service, argv: ["/bin/true", argument] }, defaultPaths))).toBe("INVALID_INPUT");
    expect(refusal(() => unitText({ ...service, description: argument }, defaultPaths))).toBe("INVALID_INPUT");
    expect(refusal(() => unitText({ ...service, environment: { A: argument } }, defaultPaths))).toBe("INVALID_INPUT");
  });
  test.each(["relative", "/hc/a b", "/hc/a:b", "/hc/../etc", "/hc/a\nb", '/hc/"a', "/hc/%n"])("path %j is refused", (path) => {
    expect(refusal(() => unitPath(path))).toBe("INVALID_INPUT");
  });
  test.each(["../x", "X", "a.service", "", "a b", "-a"])("name %j is refused", (name) => {
    expect(refusal(() => unitText({ ...service, name }, defaultPaths))).toBe("INVALID_INPUT");
  });
});

test("as many PHP processes as memory and tasks allow", () => {
  expect(childrenOf({ memory: "256M", cpu: 1, tasks: 64 })).toBe(8);
  expect(childrenOf({ memory: "1M", cpu: 1, tasks: 64 })).toBe(1);
  expect(childrenOf({ memory: "100G", cpu: 1, tasks: 4096 })).toBe(64);
  expect(childrenOf({ memory: "1G", cpu: 1, tasks: 8 })).toBe(5);
});
