import { request } from "node:http";

/**
 * One client of a ledger site as a process of its own, so that it can stand in any network namespace: `ADDRESS HOST NAME EVERY_MS MAX_MS`. Sends numbered records one after the other, each once, and
 * prints a line for each. Ends after MAX_MS, or when its standard input closes.
 */
const [address = "", host = "", name = "", every = "100", max = "60000"] = process.argv.slice(2);
export interface Outcome { id: string; sentMs: number; endMs: number; status: number; node: string; epoch: number; error: string }

function add(id: string): Promise<Outcome> {
  const sentMs = Date.now();
  const done = (rest: Partial<Outcome>): Outcome => ({ id, sentMs, endMs: Date.now(), status: 0, node: "", epoch: 0, error: "", ...rest });
  return new Promise((resolve) => {
    const asked = request({ host: address, port: 80, method: "POST", path: `/?add=${id}`, headers: { host, "content-length": 0 }, agent: false, timeout: 40_000 }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("error", (error) => resolve(done({ error: error.message })));
      response.on("end", () => {
        const said = response.statusCode === 200 ? (JSON.parse(text) as { node: string; epoch: number; id: string }) : undefined;
        resolve(done({ status: response.statusCode ?? 0, ...(said?.id === id ? { node: said.node, epoch: said.epoch } : { error: "not written" }) }));
      });
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer"))).on("error", (error) => resolve(done({ error: error.message }))).end();
  });
}

async function main(): Promise<void> {
  const end = Date.now() + Number(max);
  let stopped = false;
  process.stdin.resume().once("end", () => (stopped = true)).once("error", () => (stopped = true));
  for (let n = 1; !stopped && Date.now() < end; n += 1) {
    const began = Date.now();
    process.stdout.write(`${JSON.stringify(await add(`${name}-${n}`))}\n`);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, began + Number(every) - Date.now())));
  }
  process.exit(0);
}
void main();
