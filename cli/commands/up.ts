import type { Argv } from "yargs";
import { command } from "../context.js";
import { deploy, type DeployArgs } from "../deploy.js";

const common = <T>(yargs: Argv<T>) =>
  yargs
    .option("stack", { alias: "s", type: "string", describe: "the stack; default: the only one, else local" })
    .option("parallel", { alias: "p", type: "number", describe: "steps side by side (default: 4 for each core)" })
    .option("config", { alias: "c", type: "string", array: true, default: [] as string[], describe: "key=value for this run" });
const changing = <T>(yargs: Argv<T>) =>
  common(yargs)
    .option("yes", { alias: "y", type: "boolean", default: false, describe: "do not ask" })
    .option("allow-delete", { type: "number", default: 3, describe: "how many data-holding resources may be removed" });
const fill = (args: Partial<DeployArgs>): DeployArgs => ({ stack: undefined, parallel: undefined, config: [], yes: false, allowDelete: 3, removeStack: false, ...args });

export const upCommand = command<DeployArgs>({
  command: "up",
  describe: "makes the cluster what the program says",
  builder: (yargs) => changing(yargs).example("$0 up --stack prod", "asks after the preview") as never,
  run: (context) => deploy("up", fill(context.args), context),
});
export const previewCommand = command<DeployArgs>({
  command: "preview",
  describe: "shows what up would change, property by property; changes nothing",
  builder: (yargs) => common(yargs).option("allow-delete", { type: "number", default: 3, describe: "as for up" }) as never,
  run: (context) => deploy("preview", fill(context.args), context),
});
export const refreshCommand = command<DeployArgs>({
  command: "refresh",
  describe: "reads what is real into the state",
  builder: (yargs) => common(yargs).option("yes", { alias: "y", type: "boolean", default: false }) as never,
  run: (context) => deploy("refresh", fill(context.args), context),
});
export const destroyCommand = command<DeployArgs>({
  command: "destroy",
  describe: "removes everything that the stack made",
  builder: (yargs) => changing(yargs).option("remove-stack", { type: "boolean", default: false, describe: "also its state, when nothing is left" }) as never,
  run: (context) => deploy("destroy", fill(context.args), context),
});
