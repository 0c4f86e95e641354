import type { Argv, CommandModule } from "yargs";
import { chooseCluster, type ClusterClient, openCluster } from "./cluster-client.js";
import { closeConnections } from "../providers/ssh/pool.js";
import { type Output, processOutput } from "./output.js";
import { findProject, type Project } from "./project.js";

/** Options that every command knows. */
export interface GlobalOptions { cwd: string; cluster?: string | undefined; json: boolean }

export function globalOptions<T>(yargs: Argv<T>): Argv<T & GlobalOptions> {
  return yargs
    .option("cwd", { type: "string", default: process.cwd(), defaultDescription: "here", describe: "the project's folder, or one below it" })
    .option("cluster", { type: "string", describe: "the cluster that is meant, when the project has several" })
    .option("json", { type: "boolean", default: false, describe: "JSON for programs" }) as unknown as Argv<T & GlobalOptions>;
}

/** What a command is given; returns the exit code. */
export interface CommandContext<A> { args: A & GlobalOptions; output: Output; project(): Project; cluster(): ClusterClient }
export interface CommandSpec<A> {
  command: string;
  describe: string;
  builder?: (yargs: Argv<GlobalOptions>) => Argv<A & GlobalOptions>;
  run(context: CommandContext<A>): Promise<number>;
}

/** Joins a command to yargs: opens and closes what it needs, leaves its exit code in `process.exitCode`. */
export function command<A>(spec: CommandSpec<A>, output: Output = processOutput): CommandModule<GlobalOptions, A & GlobalOptions> {
  return {
    command: spec.command,
    describe: spec.describe,
    ...(spec.builder === undefined ? {} : { builder: spec.builder }),
    handler: async (args) => {
      let client: ClusterClient | undefined;
      const project = (): Project => findProject(args.cwd);
      const root = (): string => (process.env["HC_CONNECTION"] === undefined ? project().root : args.cwd);
      try {
        process.exitCode = await spec.run({ args: args as unknown as A & GlobalOptions, output, project, cluster: () => (client ??= openCluster(chooseCluster(root(), args.cluster))) });
      } finally {
        await client?.close();
        await closeConnections(); // an open connection would keep the process alive
      }
    },
  } as CommandModule<GlobalOptions, A & GlobalOptions>;
}
