import yargs, { type CommandModule } from "yargs";
import { errorCode, errorTable, HcError, messageOf } from "../daemon/lib/errors.js";
import { adoptPoolCommand } from "./commands/adopt-pool.js";
import { alertsCommand } from "./commands/alerts.js";
import { certificatesCommand } from "./commands/certificates.js";
import { chooseShell, completionCommand } from "./commands/completion.js";
import { doctorCommand } from "./commands/doctor.js";
import { labCommand } from "./commands/lab.js";
import { holdCommand, releaseCommand } from "./commands/hold.js";
import { moveCommand } from "./commands/move.js";
import { fenceCommand, unfenceCommand } from "./commands/fence.js";
import { promoteCommand } from "./commands/promote.js";
import { probeCommand } from "./commands/probe.js";
import { quorumCommand } from "./commands/quorum.js";
import { eventsCommand } from "./commands/events.js";
import { logsCommand, siteCommand, whyCommand } from "./commands/site.js";
import { nodeCommand } from "./commands/node.js";
import { sshCommand } from "./commands/ssh.js";
import { startCommand, stopCommand } from "./commands/demo.js";
import { nodesCommand, statusCommand, unitsCommand } from "./commands/status.js";
import { stashCommand } from "./commands/stash.js";
import { trashCommand } from "./commands/trash.js";
import { destroyCommand, previewCommand, refreshCommand, upCommand } from "./commands/up.js";
import { vaultCommand } from "./commands/vault.js";
import { versionCommand } from "./commands/version.js";
import { globalOptions, type GlobalOptions } from "./context.js";
import { exitCodeOf } from "./exit-codes.js";

const modules = [
  upCommand, previewCommand, refreshCommand, destroyCommand, startCommand, stopCommand, statusCommand, nodesCommand, nodeCommand, unitsCommand, siteCommand, whyCommand, moveCommand, holdCommand, releaseCommand, probeCommand, promoteCommand, fenceCommand, unfenceCommand, adoptPoolCommand, quorumCommand, logsCommand, eventsCommand, alertsCommand, certificatesCommand,
  vaultCommand, stashCommand, trashCommand, labCommand, doctorCommand, sshCommand, versionCommand,
] as unknown as CommandModule<GlobalOptions, GlobalOptions>[];
const commands = modules.map(({ command }) => String(command).split(" ")[0] as string);

function buildCli(argv: readonly string[]) {
  const parser = globalOptions(yargs([...argv]).scriptName("hc"))
    .usage("hc <command>: hosting that a web host writes down in git")
    .command([...modules])
    .example("hc preview", "what `hc up` would change")
    .example("hc move wiki --to n3", "moves a site")
    .epilogue("Exit codes: 0 well, 1 failed (status: warning), 2 wrong use (status: critical), 3 not reachable, 4 refused to protect data, 130 cancelled.")
    .completion("completion-script", false as never)
    .version(false)
    .strict()
    .recommendCommands()
    .demandCommand(1, "Name a command; `hc --help` lists them.")
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .exitProcess(false);
  return parser.command(completionCommand(parser as never) as (typeof modules)[number]);
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  if (argv[0] === "completion") chooseShell(argv[1]);
  let misused = false;
  // What yargs itself finds wrong comes without an error; thrown, or it would go on and run the command.
  const parser = buildCli(argv).fail((message, error) => {
    misused = error === undefined;
    throw error ?? new HcError("INVALID_INPUT", message.trim());
  });
  try {
    await parser.parseAsync();
  } catch (error) {
    process.exitCode = exitCodeOf(error);
    const code = errorCode(error);
    if (argv.includes("--json")) process.stdout.write(`${JSON.stringify({ error: { code: code ?? "INTERNAL", message: messageOf(error) } })}\n`);
    else if (misused) process.stderr.write(`hc: ${messageOf(error)}\nSee hc ${commands.includes(argv[0] ?? "") ? `${argv[0]} ` : ""}--help.\n`);
    else process.stderr.write(`hc: ${messageOf(error)}\n${code === undefined ? `${(error as Error).stack ?? ""}\n` : `(${code}: ${errorTable[code].meaning} ${errorTable[code].fix})\n`}`);
  }
}

void main();
