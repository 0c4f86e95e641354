import type { Request } from "./asker.js";
import { Exchange, fenced } from "./exchange.js";
import type { RequestHead } from "./http-head.js";
import type { Link } from "./link.js";
import type { WorkerState } from "./worker-state.js";

const idempotent = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
export const isIdempotent = (head: RequestHead): boolean => idempotent.has(head.method);
/** May it run twice? Idempotent (RFC 9110 §9.2.2), and nothing of it lies only in a connection that has been read. */
export const mayRepeat = ({ head, upload }: Request): boolean => isIdempotent(head) && (upload === undefined || upload.replayable);

/** Of the pool; made anew when Apache has another port. */
let local = { port: 0, key: "apache:0" };
function localKey(port: number): string {
  if (local.port !== port) local = { port, key: `apache:${port}` };
  return local.key;
}

export interface ApacheOwner {
  mayAnswer(): boolean;
  /** Apache was reached: it runs now. */
  onAccepted?(): void;
  /** All of the answer has been handed over. Last. */
  onAnswered(status: number): void;
  /** `run`: false: Apache was not reached, and the request surely has not run. Last. */
  onFailed(message: string, answered: boolean, run: boolean): void;
}

/**
 * A request at the site's own Apache, counted as in flight from the verdict on until Apache has done its part. A connection from the pool may just be closed by the other side (each reload of Apache
 * closes those that are idle): a request that may run twice is then tried once more; one that may not takes a new connection at once (cf. haproxy's `http-reuse safe`), which costs some 50 µs on loopback.
 */
export class AtApache {
  private exchange: Exchange | undefined;
  private link: Link | undefined;
  private key = "";
  private reused = false;
  private counted = true;
  private absorbing = false;
  private over = false;
  private readonly beganMs = performance.now();

  public constructor(private readonly worker: WorkerState, private readonly unit: string, private readonly request: Request, private readonly owner: ApacheOwner) {
    worker.begin(unit, this);
  }

  public start(fresh = !mayRepeat(this.request)): void {
    const { upstreams, routes } = this.worker;
    const port = routes.table?.apachePort ?? 0;
    this.key = localKey(port);
    const pooled = fresh ? undefined : upstreams.take(this.key);
    if (pooled !== undefined) {
      this.reused = true;
      return void this.send(pooled);
    }
    this.reused = false;
    upstreams.local(port, (link, error) => {
      if (this.over) return void link?.destroy();
      if (link !== undefined) return this.send(link);
      this.over = true;
      // in flight until its owner has decided: one that tries again goes on being counted. Nobody who waits is told: Apache cannot be had
      this.owner.onFailed(error ?? "not reached", false, false);
      this.ran(false);
    });
  }
  /** Nobody waits for the answer any more. */
  public abort(): void {
    if (this.over) return;
    this.over = true;
    this.exchange?.abort();
    this.ran();
  }
  /** A hold: what runs ends as soon as Apache has done its part, however slow the asker is. */
  public absorb(): void {
    this.absorbing = true;
    this.exchange?.absorb();
  }

  public mayAnswer(): boolean {
    return this.owner.mayAnswer();
  }
  public onRan(keep: boolean): void {
    const { link } = this;
    this.link = undefined;
    if (link === undefined) return;
    this.worker.upstreams.release(this.key, link, keep);
    // what fails without an answer may be tried once more: it is in flight until then (onFailed)
    if (keep || this.exchange?.hasAnswered === true) this.ran();
  }
  public onAnswered(status: number): void {
    this.over = true;
    this.ran();
    this.worker.served(this.unit, performance.now() - this.beganMs, this.exchange?.bodyBytes ?? 0);
    this.owner.onAnswered(status);
  }
  public onFailed(message: string, answered: boolean): void {
    if (this.reused && this.exchange?.untouched === true && mayRepeat(this.request)) return void this.start(true);
    this.over = true;
    this.ran();
    this.owner.onFailed(message, answered, true);
  }

  private send(link: Link): void {
    // time has passed since the verdict
    if (!this.owner.mayAnswer()) {
      link.destroy();
      this.ran();
      this.over = true;
      return void this.owner.onFailed(fenced, false, false);
    }
    this.owner.onAccepted?.();
    this.link = link;
    this.exchange = new Exchange(this.request, link, this, this.worker.spoolRoom);
    if (this.absorbing) this.exchange.absorb();
    this.exchange.start(this.request.headOut);
  }
  private ran(hasRoom = true): void {
    if (!this.counted) return;
    this.counted = false;
    this.worker.end(this.unit, this, hasRoom);
  }
}
