import type { Argv, CommandModule } from "yargs";

/** `hc completion bash|zsh`: yargs chooses by $SHELL, so the wanted shell is set for it. */
export function completionCommand(parser: Argv): CommandModule {
  return {
    command: "completion [shell]",
    describe: "completion script: source <(hc completion bash)",
    builder: (yargs) => yargs.positional("shell", { choices: ["bash", "zsh"], describe: "default: your $SHELL" }),
    handler: (args) => {
      const shell = args["shell"] as string | undefined;
      if (shell !== undefined) process.env["SHELL"] = `/bin/${shell}`;
      parser.showCompletionScript();
    },
  };
}
