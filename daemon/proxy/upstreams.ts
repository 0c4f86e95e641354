import { connect as connectTls, type TLSSocket } from "node:tls";
import { messageOf } from "../lib/errors.js";
import { limits } from "./limits.js";
import { Link, type Sink } from "./link.js";
import type { RouteTable } from "./routes.js";
import type { Ticker } from "./ticker.js";

export interface EdgeKeys { ca: string; cert: string; key: string }
/** Exactly one of the two. */
type Reached = (link: Link | undefined, error: string | undefined) => void;

/** Tells once how a connection attempt has ended. */
class Dialling implements Sink {
  public link: Link | undefined;
  public constructor(private readonly what: string, private told: Reached | undefined) {}
  public reached(): void {
    const { told } = this;
    this.told = undefined;
    if (this.link === undefined) return;
    this.link.within(0);
    told?.(this.link, undefined);
  }
  public fail(why: string): void {
    const { told } = this;
    this.told = undefined;
    this.link?.destroy();
    told?.(undefined, `${this.what}: ${why}`);
  }
  public onBytes(bytes: Buffer): void {
    this.link?.putBack(bytes);
    this.link?.pause();
  }
  public onEnd(): void {
    this.fail("closed");
  }
  public onGone(error: Error | undefined): void {
    this.fail(error?.message ?? "closed");
  }
  public onDrain(): void {}
  public onOverdue(): void {
    this.fail(`no connection within ${limits.connectMs} ms`);
  }
}

/** Connections to the local Apache and to other nodes' proxies: last in, first out, few, and dropped when something stirs on an idle one. */
export class Upstreams {
  private readonly idle = new Map<string, Link[]>();

  public constructor(private readonly keys: () => EdgeKeys, private readonly ticker: Ticker) {}

  /** An idle connection: the other side may just have closed it. */
  public take(key: string): Link | undefined {
    const list = this.idle.get(key);
    for (let link = list?.pop(); link !== undefined; link = list?.pop()) {
      if (!link.stirred && !link.socket.destroyed) return link;
      link.destroy();
    }
    return undefined;
  }

  /** A new connection to Apache. */
  public local(port: number, reached: Reached): void {
    const dialling = new Dialling(`Apache on port ${port}`, reached);
    const link = Link.dial({ host: "127.0.0.1", port }, this.ticker, dialling);
    dialling.link = link;
    link.within(limits.connectMs);
    link.socket.once("connect", () => dialling.reached());
  }

  /** A new connection to another node's proxy, by mutual TLS; its certificate must carry the node's name (and be signed by the edge CA). */
  public peer(table: RouteTable, node: string, reached: Reached): void {
    const target = table.nodes[node];
    if (target === undefined) return void reached(undefined, `node ${node} has not said where it is reached`);
    this.dial(node, target.addresses, target.port, reached);
  }

  /** Its user has done with it. `keep`: it can carry another request. */
  public release(key: string, link: Link, keep: boolean): void {
    if (keep) this.giveBack(key, link);
    else link.destroy();
  }
  private giveBack(key: string, link: Link): void {
    const list = this.idle.get(key) ?? [];
    this.idle.set(key, list);
    if (link.stirred || link.socket.destroyed || list.length >= limits.idlePerUpstream) return void link.destroy();
    link.attach(new Idle(link, list));
    link.idle(limits.idleUpstreamMs);
    link.resume();
    list.push(link);
  }

  private dial(node: string, addresses: readonly string[], port: number, reached: Reached): void {
    const [host, ...others] = addresses;
    if (host === undefined) return void reached(undefined, `node ${node} has no address`);
    const next: Reached = (link, error) => (link === undefined && others.length > 0 ? this.dial(node, others, port, reached) : reached(link, error));
    const dialling = new Dialling(`node ${node} at ${host}:${port}`, next);
    let socket: TLSSocket;
    try {
      socket = connectTls({
        host, port, ...this.keys(), minVersion: "TLSv1.3", servername: "",
        checkServerIdentity: (_name, certificate) => (certificate.subject.CN === node ? undefined : new Error(`the certificate is ${certificate.subject.CN}'s, not ${node}'s`)),
      });
    } catch (error) {
      return void dialling.fail(messageOf(error));
    }
    socket.setNoDelay(true);
    const link = new Link(socket, this.ticker, dialling);
    dialling.link = link;
    link.within(limits.connectMs);
    socket.once("secureConnect", () => dialling.reached());
  }
}

/** What watches an idle connection: bytes, an end or an error poison it. */
class Idle implements Sink {
  public constructor(private readonly link: Link, private readonly list: Link[]) {}
  public onBytes(): void {
    this.drop();
  }
  public onEnd(): void {
    this.drop();
  }
  public onGone(): void {
    this.drop();
  }
  public onDrain(): void {}
  public onOverdue(): void {
    this.drop();
  }
  private drop(): void {
    const at = this.list.indexOf(this.link);
    if (at >= 0) this.list.splice(at, 1);
    this.link.destroy();
  }
}
