import type { Socket } from "node:net";
import { limits } from "./limits.js";
import { bytesThatFollow, clientOf, fixedBytes } from "./proxy-protocol.js";
import type { Ticked, Ticker } from "./ticker.js";

/** Reads the PROXY header of a load balancer's connection, and not a byte more: what came with it stays in the socket for whoever reads it next, a session or TLS. It has the time of a head. */
export class ProxyHeaderReader implements Ticked {
  private start: Buffer | undefined;
  private readonly dueTick: number;

  /** One of both is called, once: `begin` with the client's address (undefined: the connection's own), or `refused`, when the socket has been destroyed. Neither when the connection ends without a byte. */
  public constructor(private readonly socket: Socket, private readonly ticker: Ticker, private readonly begin: (client: string | undefined) => void, private readonly refused: (why: string) => void) {
    this.dueTick = ticker.now + ticker.ticks(limits.headMs);
    ticker.add(this);
    socket.on("error", () => undefined); // close follows
    socket.on("readable", this.onReadable);
    socket.on("end", this.onEnd);
    socket.on("close", this.stop);
  }
  /** Called by the ticker. */
  public look(now: number): void {
    if (now > this.dueTick) this.refuse("not whole in time");
  }
  public destroy(): void {
    this.socket.destroy();
  }

  private readonly onReadable = (): void => {
    let client: string | undefined;
    try {
      this.start ??= this.read(fixedBytes);
      if (this.start === undefined) return;
      const following = this.read(bytesThatFollow(this.start));
      if (following === undefined) return;
      client = clientOf(this.start, following);
    } catch (error) {
      return void this.refuse((error as Error).message);
    }
    this.stop();
    this.begin(client);
  };
  private readonly onEnd = (): void => {
    if (this.start === undefined && this.socket.bytesRead === 0) this.socket.destroy(); // looks whether somebody listens
    else this.refuse("ended within its header");
  };
  private readonly stop = (): void => {
    this.ticker.delete(this);
    this.socket.off("readable", this.onReadable);
    this.socket.off("end", this.onEnd);
    this.socket.off("close", this.stop);
  };

  /** So many bytes, or none while there are fewer. */
  private read(bytes: number): Buffer | undefined {
    if (bytes === 0) return Buffer.alloc(0);
    const read = this.socket.read(bytes) as Buffer | null;
    if (read === null) return undefined;
    // at the end a stream gives what it has
    if (read.length < bytes) throw new Error("ended within its header");
    return read;
  }
  private refuse(why: string): void {
    this.stop();
    this.socket.destroy();
    this.refused(why);
  }
}
