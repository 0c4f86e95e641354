import { isIP } from "node:net";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import { command } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { json } from "../output.js";
import { Asker } from "../probe/asker.js";
import { type ProbePlan, runProbe } from "../probe/run-probe.js";
import { isFlawless, probeText, progressText } from "../render/probe.js";

interface ProbeArgs { urls: string[]; write: boolean; seconds: number; rate: number; clients: number; to: string[]; timeout: number; status: number; insecure: boolean }

function url(text: string): URL {
  const found = URL.canParse(text) ? new URL(text) : undefined;
  if (found === undefined || !/^https?:$/.test(found.protocol)) throw new HcError("INVALID_INPUT", `${JSON.stringify(text)} is no http:// or https:// address.`);
  found.hash = "";
  return found;
}
function within(name: string, value: number, least: number, most: number): number {
  if (!(value >= least && value <= most)) throw new HcError("INVALID_INPUT", `--${name} is a number from ${least} to ${most}, not ${value}.`);
  return value;
}

export const probeCommand = command<ProbeArgs>({
  command: "probe <urls..>",
  describe: "asks a site again and again, and tells what a visitor would have noticed: run it beside a move or a failover",
  builder: (yargs) => yargs
    .positional("urls", { type: "string", array: true, demandOption: true, describe: "http:// or https:// addresses" })
    .option("write", { type: "boolean", default: false, describe: "writes numbered records, and checks in the end that each acknowledged one is there, once, in order; for sites with the content of stacks/content/probe" })
    .option("seconds", { type: "number", default: 30, alias: "s", describe: "how long; 0: until Ctrl-C" })
    .option("rate", { type: "number", default: 20, describe: "requests a second, of each address" })
    .option("clients", { type: "number", default: 4, describe: "that take turns, each with a connection of its own" })
    .option("to", { type: "string", array: true, default: [] as string[], describe: "node addresses that are asked instead of what the name resolves to; the clients are spread over them" })
    .option("timeout", { type: "number", default: 40, describe: "seconds after which an answer counts as failed" })
    .option("status", { type: "number", default: 0, defaultDescription: "any below 400", describe: "the answer that is well" })
    .option("insecure", { type: "boolean", default: false, describe: "any certificate will do" })
    .example("hc probe http://wiki.localhost:8080/", "half a minute, 20 requests a second")
    .example("hc probe https://shop.example/ --to 192.0.2.11 192.0.2.12 -s 0", "over two nodes, until Ctrl-C"),
  run: async ({ args, output }) => {
    if (args.urls.length > 20) throw new HcError("INVALID_INPUT", `At most 20 addresses are asked at once, these are ${args.urls.length}.`);
    for (const address of args.to) if (isIP(address) === 0) throw new HcError("INVALID_INPUT", `--to takes IP addresses, not ${JSON.stringify(address)}.`);
    const plan: ProbePlan = {
      urls: args.urls.map(url), to: args.to, write: args.write, insecure: args.insecure, clients: within("clients", args.clients, 1, 500), rate: within("rate", args.rate, 0.01, 5_000), seconds: within("seconds", args.seconds, 0, 7 * 86_400),
      timeoutMs: within("timeout", args.timeout, 0.1, 600) * 1000, status: args.status === 0 ? 0 : within("status", args.status, 100, 599),
    };
    if (plan.write) await Promise.all(plan.urls.map((one) => takesWrites(one, plan)));
    const stop = new AbortController();
    const onSignal = (): void => stop.abort();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, onSignal);
    try {
      const report = await runProbe(plan, stop.signal, (now) => {
        if (output.terminal && !args.json) output.err(`\r${progressText(now)}\u001b[K`);
      });
      if (output.terminal && !args.json) output.err("\r\u001b[K");
      output.out(args.json ? json(report) : probeText(report));
      return isFlawless(report) ? exitCodes.ok : exitCodes.failed;
    } finally {
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, onSignal);
    }
  },
});

async function takesWrites(one: URL, { to, timeoutMs, insecure }: ProbePlan): Promise<void> {
  const asker = new Asker({ url: one, ...(to[0] === undefined ? {} : { address: to[0] }), timeoutMs, insecure });
  try {
    await asker.list();
  } catch (error) {
    throw new HcError("INVALID_INPUT", `--write needs a site with the content of stacks/content/probe: ${messageOf(error)}`, { cause: error });
  } finally {
    asker.close();
  }
}
