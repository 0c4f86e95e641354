import { BodyReader } from "./body-framing.js";
import type { Framing, RequestHead } from "./http-head.js";
import { limits } from "./limits.js";
import type { Link } from "./link.js";
import { holdBack, Pace } from "./pace.js";
import { Spool, type SpoolRoom } from "./spool.js";

/** A body that cannot be taken, with the status to answer. */
export class GatherError extends Error {
  public constructor(public readonly status: 400 | 408 | 413 | 503, message: string) {
    super(message);
  }
}
/** There is hardly room any more, and a body that keeps some of it comes too slowly (pace.ts). */
export const madePlace = (): GatherError => new GatherError(503, "its body came too slowly for the room it took, of which there is hardly any");
/** Is a body of this framing taken whole before its request runs? One that is larger than its place on disk goes through as it comes. */
export const isGathered = (framing: Framing, room: SpoolRoom): boolean => framing.kind === "chunked" || (framing.kind === "length" && framing.bytes <= room.diskPerRequest);

/** The head of a request whose body has been taken whole: its length is known, and nobody waits to be asked for it. */
export function withLength(head: RequestHead, bytes: number): RequestHead {
  const fields = head.expectContinue ? head.fields.filter((field) => field.lower !== "expect") : head.fields;
  return { ...head, fields, expectContinue: false, framing: bytes === 0 ? { kind: "none" } : { kind: "length", bytes } };
}

/** Takes a request's body from its sender into a spool, without chunk framing (OWNERSHIP 22). */
export class Gathering {
  private readonly reader: BodyReader;
  private readonly spool: Spool;
  private readonly pace: Pace;
  private over = false;

  public constructor(private readonly link: Link, framing: Framing, private readonly room: SpoolRoom, private readonly end: { whole(spool: Spool): void; failed(error: GatherError): void }) {
    this.reader = new BodyReader(framing);
    this.spool = new Spool(room);
    this.pace = new Pace(this.spool);
  }

  public start(): void {
    this.link.idle(limits.bodyIdleMs);
    this.link.resume();
  }
  /** The spool is the caller's from then on. */
  public take(bytes: Buffer): void {
    if (this.over) return;
    let full = false;
    let used: number;
    try {
      used = this.reader.take(bytes, (data) => {
        full ||= !this.spool.append(data);
      });
    } catch (error) {
      return void this.fail(400, (error as Error).message);
    }
    if (full) return void this.noRoom();
    if (this.reader.done) {
      this.over = true;
      this.link.idle(0);
      if (used < bytes.length) this.link.putBack(bytes.subarray(used));
      return void this.end.whole(this.spool);
    }
    if (this.pace.isTooSlow()) return void this.failed(madePlace());
    holdBack(this.spool, this.pace, this.link);
  }
  /** The sender has gone, or is too slow. */
  public fail(status: GatherError["status"], message: string): void {
    this.failed(new GatherError(status, message));
  }
  public stop(): void {
    this.over = true;
    this.spool.close();
  }

  private failed(error: GatherError): void {
    if (this.over) return;
    this.stop();
    this.end.failed(error);
  }
  private noRoom(): void {
    const { error, size } = this.spool;
    if (error !== undefined) this.fail(503, `its body could not be kept: ${error.message}`);
    else if (size >= this.room.diskPerRequest) this.fail(413, "its body is too large");
    else this.fail(503, "there is no room for its body");
  }
}
