import type { Status } from "../../daemon/lib/status.js";
import { command } from "../context.js";
import { json } from "../output.js";
import { nodesTable, statusExit, statusText, unitsTable } from "../render/status.js";

export const statusCommand = command<object>({
  command: "status",
  describe: "nodes, units, lag, and what needs a person; exit 0 ok, 1 warning, 2 critical",
  builder: (yargs) => yargs.example("$0 status --json | jq '.units[].home'", "where everything is"),
  run: async ({ args, output, cluster }) => {
    const status = await cluster().call<Status>("GET", "/v1/status");
    output.out(args.json ? json(status) : statusText(status));
    return statusExit(status);
  },
});

export const unitsCommand = command<object>({
  command: "units",
  describe: "all units with home, replicas and lag",
  run: async ({ args, output, cluster }) => {
    const { units } = await cluster().call<Status>("GET", "/v1/status");
    output.out(args.json ? json(units) : unitsTable(units));
    return 0;
  },
});

export const nodesCommand = command<object>({
  command: "nodes",
  describe: "all nodes with pool, memory and etcd",
  run: async ({ args, output, cluster }) => {
    const { nodes } = await cluster().call<Status>("GET", "/v1/status");
    output.out(args.json ? json(nodes) : nodesTable(nodes));
    return 0;
  },
});
