import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./hc-process.js";

const modules = ["mpm_prefork", "authz_core", "alias", "cgi"];
/** As strict as the product's own (templates/services/apache.conf.hbs). */
const configuration = (dir: string, port: number): string => `
ServerRoot "${dir}"
PidFile "${dir}/pid"
Mutex file:${dir} default
ServerName echo.invalid
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
${process.getuid?.() === 0 ? "User nobody\nGroup nogroup" : ""}
Listen 127.0.0.1:${port}
TraceEnable Off
StartServers 1
MinSpareServers 1
MaxSpareServers 1
MaxRequestWorkers 1
KeepAlive On
KeepAliveTimeout 15
LimitRequestFields 100
HttpProtocolOptions Strict
ErrorLog "|/bin/cat"
LogLevel notice
LogFormat "%>s %m %U%q" seen
CustomLog "${dir}/access.log" seen
RedirectMatch ${sentinelStatus} "^/sentinel$"
ScriptAliasMatch "^/(?!sentinel$)" "${dir}/echo.cgi"
`;

/** The sentinel's answer (http-backend.ts). */
export const sentinelStatus = 204;

/** One Apache (a parent and one worker) on a port of loopback that tells what it reads (test/fixtures/apache/echo.cgi). */
export class EchoApache {
  private constructor(public readonly port: number, private readonly dir: string, private readonly process: ChildProcess) {}

  public static async start(): Promise<EchoApache> {
    const dir = mkdtempSync(join(tmpdir(), "hc-apache-"));
    chmodSync(dir, 0o755);
    copyFileSync(join(process.cwd(), "test", "fixtures", "apache", "echo.cgi"), join(dir, "echo.cgi"));
    chmodSync(join(dir, "echo.cgi"), 0o755);
    const port = await freePort();
    writeFileSync(join(dir, "apache.conf"), configuration(dir, port));
    // a session of its own: at its end Apache signals its whole process group; it ends with this process, however that ends
    const child = spawn("setpriv", ["--pdeathsig", "TERM", "/usr/sbin/apache2", "-DFOREGROUND", "-f", join(dir, "apache.conf")], { stdio: ["ignore", "pipe", "pipe"], detached: true });
    const apache = new EchoApache(port, dir, child);
    await new Promise<void>((resolve, reject) => {
      let said = "";
      const hear = (text: string): void => {
        said = (said + text).slice(-4_000);
        if (said.includes("resuming normal operations")) resolve();
      };
      child.stdout.setEncoding("utf8").on("data", hear); // its log, once it is open
      child.stderr.setEncoding("utf8").on("data", hear);
      child.on("error", reject).on("exit", (code) => reject(new Error(`apache2 ended with ${code}: ${said}`)));
    });
    return apache;
  }
  /** Lines of the access log so far: status, method and path of each request that Apache has seen, refused ones too. */
  public log(): string[] {
    return readFileSync(join(this.dir, "access.log"), "latin1").split("\n").slice(0, -1);
  }
  public async stop(): Promise<void> {
    const ended = this.process.exitCode === null && this.process.signalCode === null ? once(this.process, "exit") : undefined;
    this.process.kill("SIGTERM");
    await ended;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
