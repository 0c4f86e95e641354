import { get } from "node:http";

/** Asks a web server 20 times a second until it is told to stop; every answer but 200 is a failure with its time. */
export function askAll(url: string, everyMs = 50): { stop(): Promise<{ asked: number; failures: string[] }> } {
  const failures: string[] = [];
  const open = new Set<Promise<void>>();
  let asked = 0;
  const started = Date.now();
  const ask = (): void => {
    asked += 1;
    const one = new Promise<void>((resolve) => {
      const fail = (why: string): void => {
        failures.push(`${Date.now() - started} ms: ${why}`);
        resolve();
      };
      get(url, { agent: false, timeout: 5_000 }, (answer) => {
        if (answer.statusCode !== 200) fail(`status ${answer.statusCode}`);
        answer.resume().on("end", resolve).on("error", (error) => fail(error.message));
      }).on("timeout", function (this: { destroy(error: Error): void }) { this.destroy(new Error("no answer")); }).on("error", (error) => fail(error.message));
    }).finally(() => open.delete(one));
    open.add(one);
  };
  const timer = setInterval(ask, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(open);
      return { asked, failures };
    },
  };
}
