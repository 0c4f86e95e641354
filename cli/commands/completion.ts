import type { Argv, CommandModule } from "yargs";

/** yargs reads $SHELL when it is made, to know for which shell to write: to be called before. */
export function chooseShell(shell: string | undefined): void {
  if (shell === "bash" || shell === "zsh") process.env["SHELL"] = `/bin/${shell}`;
}

/** `hc completion bash|zsh` */
export function completionCommand(parser: Argv): CommandModule {
  return {
    command: "completion [shell]",
    describe: "completion script: source <(hc completion bash)",
    builder: (yargs) => yargs.positional("shell", { choices: ["bash", "zsh"], describe: "default: your $SHELL" }),
    handler: () => void parser.showCompletionScript(),
  };
}
