import yargs, { type CommandModule } from "yargs";
import { errorCode, errorTable, messageOf } from "../daemon/lib/errors.js";
import { completionCommand } from "./commands/completion.js";
import { doctorCommand } from "./commands/doctor.js";
import { labCommand } from "./commands/lab.js";
import { moveCommand } from "./commands/move.js";
import { eventsCommand, logsCommand, siteCommand, whyCommand } from "./commands/site.js";
import { sshCommand } from "./commands/ssh.js";
import { startCommand, stopCommand } from "./commands/demo.js";
import { nodesCommand, statusCommand, unitsCommand } from "./commands/status.js";
import { trashCommand } from "./commands/trash.js";
import { destroyCommand, previewCommand, refreshCommand, upCommand } from "./commands/up.js";
import { versionCommand } from "./commands/version.js";
import { globalOptions, type GlobalOptions } from "./context.js";
import { exitCodeOf, exitCodes } from "./exit-codes.js";

type AnyCommand = CommandModule<GlobalOptions, GlobalOptions>;

function buildCli(argv: readonly string[]) {
  const parser = globalOptions(yargs([...argv]).scriptName("hc"))
    .usage("hc <command>: hosting that a web host writes down in git")
    .command(upCommand as AnyCommand)
    .command(previewCommand as AnyCommand)
    .command(refreshCommand as AnyCommand)
    .command(destroyCommand as AnyCommand)
    .command(startCommand as AnyCommand)
    .command(stopCommand as AnyCommand)
    .command(statusCommand as AnyCommand)
    .command(nodesCommand as AnyCommand)
    .command(unitsCommand as AnyCommand)
    .command(siteCommand as AnyCommand)
    .command(whyCommand as AnyCommand)
    .command(moveCommand as AnyCommand)
    .command(logsCommand as AnyCommand)
    .command(eventsCommand as AnyCommand)
    .command(trashCommand as AnyCommand)
    .command(labCommand as AnyCommand)
    .command(doctorCommand as AnyCommand)
    .command(sshCommand as AnyCommand)
    .command(versionCommand as AnyCommand)
    .example("hc preview", "what `hc up` would change")
    .example("hc move wiki --to n3", "moves a site; requests wait meanwhile")
    .epilogue("Exit codes: 0 well, 1 failed (status: warning), 2 wrong use (status: critical), 3 not reachable, 4 refused to protect data, 130 cancelled.")
    .completion("completion-script", false as never)
    .version(false)
    .strict()
    .recommendCommands()
    .demandCommand(1, "Name a command; `hc --help` lists them.")
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .exitProcess(false);
  return parser.command(completionCommand(parser as never) as AnyCommand);
}

async function main(): Promise<void> {
  const argv = process.argv.slice(2);
  let failed: unknown;
  const parser = buildCli(argv).fail((message, error) => {
    failed = error ?? new Error(message);
    if (error === undefined) {
      process.stderr.write(`hc: ${message}\nSee hc --help.\n`);
      process.exitCode = exitCodes.usage;
    }
  });
  try {
    await parser.parseAsync();
  } catch (error) {
    failed ??= error;
  }
  if (failed === undefined || process.exitCode === exitCodes.usage) return;
  process.exitCode = exitCodeOf(failed);
  const code = errorCode(failed);
  if (argv.includes("--json")) process.stdout.write(`${JSON.stringify({ error: { code: code ?? "INTERNAL", message: messageOf(failed) } })}\n`);
  else process.stderr.write(`hc: ${messageOf(failed)}\n${code === undefined ? `${(failed as Error).stack ?? ""}\n` : `(${code}: ${errorTable[code].meaning})\n`}`);
}

void main();
