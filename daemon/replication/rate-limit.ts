import type { Clock } from "../lib/clock.js";

/** Lets bytes of all streams of a node through at `bytesPerS` together (0 = no limit); a burst of a quarter of a second is allowed. */
export class RateLimit {
  private readyAtMs = 0;
  public constructor(
    private readonly bytesPerS: number,
    private readonly clock: Clock,
  ) {}
  public async *through(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      if (this.bytesPerS > 0) {
        const now = this.clock.monotonicMs();
        this.readyAtMs = Math.max(this.readyAtMs, now) + (chunk.length / this.bytesPerS) * 1000;
        const waitMs = this.readyAtMs - now - 250;
        if (waitMs > 0) await this.clock.sleep(waitMs, signal);
      }
      yield chunk;
    }
  }
}
