import type { Argv } from "yargs";
import type { TrashRecord } from "../../daemon/lib/records.js";
import { retry } from "../../daemon/lib/backoff.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { command, type GlobalOptions } from "../context.js";
import { json, table } from "../output.js";

const listCommand = command<object>({
  command: "list",
  describe: "deleted units that can still be restored",
  run: async ({ args, output, cluster }) => {
    const { trash } = await cluster().call<{ trash: TrashRecord[] }>("GET", "/v1/trash");
    const day = (atMs: number): string => new Date(atMs).toISOString().slice(0, 16).replace("T", " ");
    output.out(args.json ? json(trash) : trash.length === 0 ? "The trash is empty.\n" : table(["ID", "UNIT", "DELETED (UTC)", "EXPIRES (UTC)", "COPIES ON"], trash.map((item) => [item.id, item.unit, day(item.deletedAtMs), day(item.expiresAtMs), item.nodes.join(", ")])));
    return 0;
  },
});
/** Asking twice is harmless, and a busy etcd may be late once; other refusals are final. */
const patiently = (call: () => Promise<object>): Promise<object> =>
  retry("the trash", { firstMs: 500, capMs: 5_000, withinMs: 30_000 }, () => call().catch((error: unknown) => {
    throw error instanceof HcError && error.code !== "NO_QUORUM" ? new HcError(error.code, error.message, { context: error.context, retry: "never" }) : error;
  }));
const act = (name: "restore" | "purge", describe: string, done: string) =>
  command<{ ids: string[] }>({
    command: `${name} <ids..>`,
    describe,
    builder: (yargs) => yargs.positional("ids", { type: "string", array: true, demandOption: true, describe: "as `hc trash list` shows them" }),
    run: async ({ args, output, cluster }) => {
      const answers: object[] = [];
      const failures: unknown[] = [];
      for (const id of args.ids) {
        try {
          answers.push(await patiently(() => cluster().call<object>("POST", `/v1/trash/${encodeURIComponent(id)}/${name}`, {}, 60_000)));
          if (!args.json) output.out(`${id} ${done}\n`);
        } catch (error) {
          // the others are not kept waiting for one
          failures.push(error);
          if (args.ids.length > 1) output.err(`${id}: ${messageOf(error)}\n`);
        }
      }
      if (failures.length > 0) throw failures[0];
      if (args.json) output.out(json(answers));
      return 0;
    },
  });

export const trashCommand = {
  command: "trash",
  describe: "deleted units: list, restore, purge",
  builder: (yargs: Argv<GlobalOptions>) => yargs.command(listCommand).command(act("restore", "brings a deleted unit back under its old name", "is being restored; see `hc units`.")).command(act("purge", "destroys a deleted unit for good, on all nodes", "is being destroyed.")).demandCommand(1),
  handler: () => undefined,
};
