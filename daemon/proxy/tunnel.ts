import type { RequestHead } from "./http-head.js";
import { limits } from "./limits.js";
import type { Link, Sink } from "./link.js";
import { closeFrame, FrameFollower } from "./websocket.js";

/** Bytes both ways until both sides have ended (a half-closed side is passed on), or one broke. */
export class Tunnel {
  private open = 2;
  private ended = false;
  /** Follows what goes to the client of a WebSocket, to know where a message of our own may stand. */
  private readonly frames: FrameFollower | undefined;
  private leaving = false;

  public constructor(private readonly client: Link, private readonly up: Link, head: RequestHead, private readonly onEnd: () => void) {
    this.frames = head.fields.find((field) => field.lower === "upgrade")?.value.toLowerCase() === "websocket" ? new FrameFollower() : undefined;
    for (const [from, to] of [[client, up], [up, client]] as const) {
      from.attach(this.direction(from, to));
      from.within(0);
      from.idle(limits.tunnelIdleMs);
    }
    client.resume();
    up.resume();
  }

  /** The unit leaves this node: a WebSocket is told so (1012, "service restart": RFC 6455 §7.4, IANA) between two frames and closed, anything else is cut at its deadline. */
  public goodbye(): void {
    if (this.frames === undefined || this.leaving) return;
    this.leaving = true;
    if (this.frames.between) this.leave();
  }

  private leave(): void {
    this.client.write(closeFrame(1012));
    this.client.linger(limits.lingerMs);
    this.end();
  }
  private end(): void {
    if (this.ended) return;
    this.ended = true;
    this.up.destroy();
    this.onEnd();
  }
  private direction(from: Link, to: Link): Sink {
    let inOrder = false;
    const toClient = to === this.client;
    return {
      onBytes: (bytes) => {
        if (this.ended) return;
        const cut = toClient && this.frames !== undefined ? this.frames.take(bytes, this.leaving) : undefined;
        const free = to.write(cut === undefined ? bytes : bytes.subarray(0, cut));
        if (to.writing) from.lend();
        to.touch();
        if (cut !== undefined) return this.leave();
        if (!free) from.pause();
      },
      onEnd: () => {
        inOrder = true;
        to.socket.end();
        this.open -= 1;
        if (this.open === 0) this.end();
      },
      onGone: () => {
        if (this.ended) return;
        // what the backend said last may still be on its way to the client
        if (inOrder && toClient) to.linger(limits.lingerMs);
        else to.destroy();
        this.end();
      },
      onDrain: () => to.resume(),
      onOverdue: () => {
        from.destroy();
        to.destroy();
      },
    };
  }
}
