import type { Peers, RouteRegistry } from "../context.js";
import { type Clock, sleepUntilTick } from "../lib/clock.js";

const everyMs = 4000;
const freshMs = 10_000;

/** Which peers answered on the control port in the last 10 s, and how fast. */
export class Links {
  private readonly seen = new Map<string, { atMs: number; roundTripMs: number }>();

  public constructor(private readonly options: { node: string; peers: Peers; clock: Clock; others(): readonly string[] }) {}

  public current(): Record<string, number> {
    const now = this.options.clock.monotonicMs();
    return Object.fromEntries([...this.seen].filter(([, link]) => now - link.atMs < freshMs).map(([node, link]) => [node, Math.round(link.roundTripMs * 10) / 10]).sort());
  }

  public async probe(signal?: AbortSignal): Promise<void> {
    const { clock, peers } = this.options;
    await Promise.all(
      this.options.others().map(async (node) => {
        const started = clock.monotonicMs();
        await peers.call(node, "GET", "/peer/v1/ping", undefined, { timeoutMs: 2000, ...(signal === undefined ? {} : { signal }) }).then(
          () => void this.seen.set(node, { atMs: clock.monotonicMs(), roundTripMs: clock.monotonicMs() - started }),
          () => undefined, // absence from `current` is the report
        );
      }),
    );
  }

  public async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.probe(signal);
      await sleepUntilTick(this.options.clock, everyMs, signal);
    }
  }
}

export function pingRoute(routes: RouteRegistry, node: string): void {
  routes.route("GET", "/peer/v1/ping", async () => ({ node }));
}
