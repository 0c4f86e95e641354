import type { ToControl } from "./channel.js";
import { limits } from "./limits.js";
import type { Ends, SocketOwners } from "./socket-owners.js";
import type { InFlight, WorkerState } from "./worker-state.js";

/** A request that waits at its unit's home while that is held. */
export interface OwnCall {
  /** It may run now, though its unit is held, unless it needs not any more. It counts as in flight by itself before this returns. */
  pass(): void;
}
/** The line to the control process that told of the holds. */
export interface OwnCallLine {
  /** Units of which it may be asked. */
  readonly draining: ReadonlySet<string>;
  /** Of the last hold that it has told of. */
  readonly round: number;
  send(message: ToControl): void;
}
interface Asked extends InFlight { unit: string; call: OwnCall; sinceMs: number }

/**
 * Requests of a site to itself while it is held. One that runs may wait for the answer to another, which therefore passes until the hold has drained: when the client's socket has the uid of the site's
 * customer, and the control process says so (gates.ts). It is counted as in flight before the control process is asked, with that count in the question, until it runs or was given up: so nothing drains
 * between question and answer. Without a line, or an answer in time, it waits as all others do; a later "yes" is passed over.
 */
export class OwnCalls {
  private line: OwnCallLine | undefined;
  private readonly asked = new Map<number, Asked>();
  private lastId = 0;

  public constructor(private readonly worker: WorkerState, private readonly owners: Pick<SocketOwners, "find">) {}

  /** Cheap where nothing is held. `ends`: of the connection that it came by. True: it was taken up, and need not be offered again. */
  public offer(unit: string, ends: Ends, call: OwnCall): boolean {
    const uid = this.worker.routes.route(unit)?.uid;
    if (uid === undefined || this.line?.draining.has(unit) !== true) return false;
    this.owners.find(ends, (owner) => {
      if (owner === uid) this.ask(unit, call);
    });
    return true;
  }
  /** Another line; undefined: it is cut, and no answer comes. */
  public follow(line: OwnCallLine | undefined): void {
    this.line = line;
    for (const id of [...this.asked.keys()]) this.answered(id, false);
  }
  public answered(id: number, passes: boolean): void {
    const asked = this.asked.get(id);
    if (asked === undefined) return;
    this.asked.delete(id);
    if (passes && performance.now() - asked.sinceMs <= limits.ownCallMs) asked.call.pass();
    this.worker.end(asked.unit, asked);
  }
  /** Now and then. */
  public expire(): void {
    const now = performance.now();
    for (const [id, { sinceMs }] of [...this.asked]) if (now - sinceMs > limits.ownCallMs) this.answered(id, false);
  }

  private ask(unit: string, call: OwnCall): void {
    const { line, worker } = this;
    // time has passed since it was offered
    if (line?.draining.has(unit) !== true || !worker.routes.isHeld(unit) || worker.full(unit) || this.asked.size >= limits.ownCallsAsked) return;
    this.lastId += 1;
    const asked: Asked = { unit, call, sinceMs: performance.now(), absorb: () => undefined };
    this.asked.set(this.lastId, asked);
    worker.begin(unit, asked);
    line.send({ type: "own-call", id: this.lastId, unit, round: line.round, inFlight: worker.inFlight(unit) });
  }
}
