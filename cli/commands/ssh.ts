import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HcError } from "../../daemon/lib/errors.js";
import type { Connection } from "../../providers/schemas/connection.js";
import { quoteAll } from "../../daemon/lib/quote.js";
import { command } from "../context.js";

/** argv of the OpenSSH client for a node, with its pinned host key. Pure. */
export function sshArgv(connection: Connection, knownHosts: string, rest: readonly string[]): string[] {
  const key = connection.privateKeyPath === undefined ? [] : ["-i", connection.privateKeyPath, "-o", "IdentitiesOnly=yes"];
  return ["ssh", "-F", "none", ...key, "-p", String(connection.port), "-o", `UserKnownHostsFile=${knownHosts}`, "-o", "StrictHostKeyChecking=yes", "-o", "HashKnownHosts=no", "-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5", "-o", "LogLevel=ERROR", `${connection.user}@${connection.address}`, ...rest];
}
/** The command for the node's shell: one word is a line for the shell, several are a program and its arguments as they are (ssh itself would split them again). Pure. */
export const remoteText = (words: readonly string[]): string[] => (words.length < 2 ? [...words] : [quoteAll(words)]);
/** One line of known_hosts; a port other than 22 is written in brackets (sshd(8)). */
export const knownHostsLine = (connection: Connection): string => `${connection.port === 22 ? connection.address : `[${connection.address}]:${connection.port}`} ${connection.hostKey}\n`;

export const sshCommand = command<{ node: string; argv: string[] }>({
  command: "ssh <node> [argv..]",
  describe: "a shell (or one command) on a node, host key pinned",
  builder: (yargs) => yargs.positional("node", { type: "string", demandOption: true }).positional("argv", { type: "string", array: true, default: [] }).parserConfiguration({ "unknown-options-as-args": true, "populate--": false }).example("$0 ssh n1 -- zfs list -o name,used", "a program and its arguments, as they are").example("$0 ssh n1 'journalctl -u hcd | tail'", "one word: a line for the node's shell"),
  run: async ({ args, cluster }) => {
    const { connections } = cluster().file;
    const connection = connections.find((each) => each.node === args.node);
    if (connection === undefined) throw new HcError("NOT_FOUND", `There is no node ${args.node}; there are ${connections.map((each) => each.node).join(", ")}.`);
    const folder = mkdtempSync(join(tmpdir(), "hc-ssh-"));
    try {
      const known = join(folder, "known_hosts");
      writeFileSync(known, knownHostsLine(connection), { mode: 0o600 });
      // yargs gives what follows "--" to no positional, and reads numbers in it as numbers
      const after = process.argv.indexOf("--");
      const words = [...(args.argv ?? []), ...(after === -1 ? [] : process.argv.slice(after + 1))];
      const [file, ...rest] = sshArgv(connection, known, remoteText(words));
      return await new Promise<number>((resolve, reject) => {
        const child = spawn(file as string, rest, { stdio: "inherit" });
        child.on("error", (cause) => reject(new HcError("COMMAND_NOT_FOUND", "The OpenSSH client is not installed here.", { cause })));
        child.on("exit", (code) => resolve(code ?? 1));
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
});
