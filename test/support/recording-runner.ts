import type { CommandOptions, CommandResult, CommandRunner } from "../../daemon/lib/command.js";

/** Answers by the first rule that fits, else with success and nothing; keeps what it was asked. */
export class RecordingRunner implements CommandRunner {
  public readonly asked: string[][] = [];
  public constructor(private readonly rules: readonly { when: RegExp; stdout?: string; code?: number }[] = []) {}
  public async run(argv: readonly string[], _options: CommandOptions): Promise<CommandResult> {
    this.asked.push([...argv]);
    const text = argv.join(" ");
    const rule = this.rules.find((item) => item.when.test(text));
    return { code: rule?.code ?? 0, signal: null, stdout: rule?.stdout ?? "", stderr: "", durationMs: 0 };
  }
}
