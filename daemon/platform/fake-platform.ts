import type { Runtime } from "../lib/documents.js";
import { HcError } from "../lib/errors.js";
import { type Account, compareAccount, userName } from "./accounts.js";
import type { Platform, ServiceDefinition, ServiceState } from "./platform.js";

/** In memory, for tests; passes the same contract suite as the real ones. `crash` and `failing` play the host's part. */
export class FakePlatform implements Platform {
  public readonly definitions = new Map<string, ServiceDefinition>();
  public readonly states = new Map<string, ServiceState>();
  public readonly users = new Map<string, Account>();
  /** Names in the order of acts: "start hc-site-a". */
  public readonly acts: string[] = [];
  /** Services whose start, restart or reload fails. */
  public readonly failing = new Set<string>();

  public constructor(public readonly name: "linux" | "freebsd" = "linux", private readonly php = "8.2") {}

  public async runtime(): Promise<Runtime> {
    return { platform: this.name, php: this.php };
  }
  public async defineService(service: ServiceDefinition): Promise<boolean> {
    const before = this.definitions.get(service.name);
    if (before !== undefined && JSON.stringify(before) === JSON.stringify(service)) return false;
    this.definitions.set(service.name, structuredClone(service));
    if (!this.states.has(service.name)) this.states.set(service.name, "inactive");
    return true;
  }
  public startService = (name: string): Promise<void> => this.act("start", name, "active");
  public restartService = (name: string): Promise<void> => this.act("restart", name, "active");
  public reloadService = (name: string): Promise<void> => this.act("reload", name, undefined);
  public async stopService(name: string): Promise<void> {
    if (!this.states.has(name)) return;
    this.acts.push(`stop ${name}`);
    this.states.set(name, "inactive");
  }
  public async killServices(names: readonly string[]): Promise<void> {
    for (const name of names) {
      this.acts.push(`kill ${name}`);
      if (this.states.has(name)) this.states.set(name, "inactive");
    }
  }
  public async removeService(name: string): Promise<void> {
    await this.stopService(name);
    this.states.delete(name);
    this.definitions.delete(name);
  }
  public async serviceStates(prefix: string): Promise<Map<string, ServiceState>> {
    return new Map([...this.states].filter(([name]) => name.startsWith(prefix)));
  }
  public async serviceLog(_name: string, _lines: number): Promise<string> {
    return "";
  }
  public async ensureUser(user: string, uid: number, gid: number): Promise<void> {
    const wanted = { user: userName(user), uid, gid };
    if (compareAccount([...this.users.values()], wanted) === "missing") this.users.set(user, wanted);
  }
  public async removeUser(user: string): Promise<void> {
    this.users.delete(userName(user));
  }
  public async listUsers(prefix: string): Promise<Account[]> {
    return [...this.users.values()].filter(({ user }) => user.startsWith(prefix));
  }
  public async memory(): Promise<{ totalBytes: number; availableBytes: number }> {
    return { totalBytes: 2 ** 33, availableBytes: 2 ** 32 };
  }
  public async bootId(): Promise<string> {
    return "fake-boot";
  }
  /** The service died by itself. */
  public crash(name: string): void {
    this.states.set(name, "failed");
  }
  private async act(what: string, name: string, state: ServiceState | undefined): Promise<void> {
    this.acts.push(`${what} ${name}`);
    const known = this.states.get(name);
    if (known === undefined) throw new HcError("COMMAND_FAILED", `${what}: there is no service ${name}.`);
    if (what === "reload" && known !== "active") throw new HcError("COMMAND_FAILED", `${what}: ${name} does not run.`);
    if (this.failing.has(name)) {
      this.states.set(name, "failed");
      throw new HcError("COMMAND_FAILED", `${what} ${name}: exit 1`);
    }
    if (state !== undefined) this.states.set(name, state);
  }
}
