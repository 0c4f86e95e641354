import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { HcError } from "../lib/errors.js";
import { ByteStream } from "./byte-stream.js";
import { limits } from "./limits.js";
import type { RouteTable } from "./routes.js";

export interface EdgeKeys { ca: string; cert: string; key: string }
interface Idle { stream: ByteStream; sinceMs: number }

function opened(socket: Socket, event: "connect" | "secureConnect", what: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new HcError("UNREACHABLE", `${what}: ${why}`));
    };
    const timer = setTimeout(() => fail(`no connection within ${limits.connectMs} ms`), limits.connectMs);
    socket.once(event, () => {
      clearTimeout(timer);
      socket.off("error", onError);
      resolve(socket);
    });
    const onError = (error: Error): void => fail(error.message);
    socket.on("error", onError);
  });
}

/** Connections to the local Apache and to other nodes' proxies: last in, first out, few, and dropped when something stirs on an idle one. */
export class Upstreams {
  private readonly idle = new Map<string, Idle[]>();

  public constructor(private readonly keys: () => EdgeKeys) {}

  /** `reused`: it comes from the pool, so the other side may just have closed it. */
  public async local(port: number, fresh = false): Promise<{ stream: ByteStream; reused: boolean; key: string }> {
    const key = `apache:${port}`;
    const pooled = fresh ? undefined : this.take(key);
    if (pooled !== undefined) return { stream: pooled, reused: true, key };
    const socket = connect({ host: "127.0.0.1", port, noDelay: true, allowHalfOpen: true });
    return { stream: new ByteStream(await opened(socket, "connect", `Apache on port ${port}`)), reused: false, key };
  }

  /** Mutual TLS to another node's proxy; its certificate must carry the node's name (and be signed by the edge CA). */
  public async peer(table: RouteTable, node: string, fresh = false): Promise<{ stream: ByteStream; reused: boolean; key: string }> {
    const key = `peer:${node}`;
    const pooled = fresh ? undefined : this.take(key);
    if (pooled !== undefined) return { stream: pooled, reused: true, key };
    const target = table.nodes[node];
    if (target === undefined) throw new HcError("UNREACHABLE", `node ${node} has not said where it is reached`);
    let last: unknown;
    for (const host of target.addresses) {
      try {
        const socket = connectTls({
          host, port: target.port, ...this.keys(), minVersion: "TLSv1.3", servername: "",
          checkServerIdentity: (_name, certificate) => (certificate.subject.CN === node ? undefined : new Error(`the certificate is ${certificate.subject.CN}'s, not ${node}'s`)),
        });
        socket.setNoDelay(true);
        return { stream: new ByteStream(await opened(socket, "secureConnect", `node ${node} at ${host}:${target.port}`)), reused: false, key };
      } catch (error) {
        last = error;
      }
    }
    throw last ?? new HcError("UNREACHABLE", `node ${node} has no address`);
  }

  public giveBack(key: string, stream: ByteStream): void {
    const list = this.idle.get(key) ?? [];
    this.idle.set(key, list);
    if (stream.stirred || stream.socket.destroyed || list.length >= limits.idlePerUpstream) return void stream.socket.destroy();
    list.push({ stream, sinceMs: performance.now() });
  }

  /** Drops what has been idle too long; called by the worker's coarse tick. */
  public sweep(): void {
    const old = performance.now() - limits.idleUpstreamMs;
    for (const [key, list] of this.idle) {
      const kept = list.filter((item) => {
        const good = item.sinceMs > old && !item.stream.stirred && !item.stream.socket.destroyed;
        if (!good) item.stream.socket.destroy();
        return good;
      });
      if (kept.length === 0) this.idle.delete(key);
      else this.idle.set(key, kept);
    }
  }

  private take(key: string): ByteStream | undefined {
    const list = this.idle.get(key);
    for (let item = list?.pop(); item !== undefined; item = list?.pop()) {
      // bytes, an end or an error on an idle connection poison it
      if (!item.stream.stirred && !item.stream.socket.destroyed && performance.now() - item.sinceMs < limits.idleUpstreamMs) return item.stream;
      item.stream.socket.destroy();
    }
    return undefined;
  }
}
