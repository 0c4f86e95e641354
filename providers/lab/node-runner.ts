import type { CommandOptions, CommandResult, CommandRunner } from "../../daemon/lib/command.js";
import { HcError } from "../../daemon/lib/errors.js";

const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * Runs commands inside a node through its namespaces: no network, no SSH. Such a command belongs to the machine's control groups, not to
 * the node's, and outlives nothing of the node. `initPid` answers undefined while the node is down.
 */
export class NodeRunner implements CommandRunner {
  public constructor(private readonly machine: CommandRunner, private readonly name: string, private readonly initPid: () => number | undefined) {}

  public async run(argv: readonly string[], options: CommandOptions): Promise<CommandResult> {
    const pid = this.initPid();
    if (pid === undefined) throw new HcError("UNREACHABLE", `Node ${this.name} of the lab does not run; start it with "hc lab start ${this.name}".`);
    const { cwd, ...rest } = options;
    const env = { PATH: path, HOME: "/root", ...options.env };
    // values travel in the environment, never in a process list; the machine's own variables are taken out by name
    const foreign = Object.keys(process.env).filter((name) => !(name in env) && name !== "LC_ALL").flatMap((name) => ["-u", name]);
    const enter = ["nsenter", "--target", String(pid), "--all", "--wdns=/", "--", "env", ...foreign, ...(cwd === undefined ? [] : [`--chdir=${cwd}`]), "--", ...argv];
    const result = await this.machine.run(enter, { ...rest, env });
    if (result.code === 127 && /^env: .*No such file or directory/m.test(result.stderr))
      throw new HcError("COMMAND_NOT_FOUND", `${argv[0]} is not installed on ${this.name}.`);
    return result;
  }
}
