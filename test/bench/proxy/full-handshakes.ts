import { connect, createServer, type Socket } from "node:net";

const [presharedKey, sessionTicket] = [41, 35];

/** Pure: does a client offer a session of before (RFC 8446 §4.2.11, RFC 5077 §3.2)? `hello`: its first record, whole; undefined: not yet. Without an offer the handshake is a full one. Throws when it is no ClientHello. */
export function offersSession(hello: Buffer): boolean | undefined {
  if (hello.length > 0 && hello[0] !== 22) throw new Error("no TLS handshake");
  if (hello.length < 5 || hello.length < 5 + hello.readUInt16BE(3)) return undefined;
  if (hello[5] !== 1) throw new Error("no ClientHello");
  let at = 5 + 4 + 2 + 32; // record, message, version, random
  at += 1 + hello.readUInt8(at); // session id: random for the sake of old boxes on the way (RFC 8446 §D.4)
  at += 2 + hello.readUInt16BE(at); // ciphers
  at += 1 + hello.readUInt8(at); // compression
  const end = at + 2 + hello.readUInt16BE(at);
  for (at += 2; at < end; at += 4 + hello.readUInt16BE(at + 2)) {
    const type = hello.readUInt16BE(at);
    if (type === presharedKey || (type === sessionTicket && hello.readUInt16BE(at + 2) > 0)) return true;
  }
  return false;
}

/** Runs a client through a relay before `port` that reads along: its connections, and how many of them offered a session. */
export async function seenHellos(port: number, client: (relayPort: number) => Promise<unknown>): Promise<{ connections: number; offering: number }> {
  const seen = { connections: 0, offering: 0 };
  const sockets = new Set<Socket>();
  const relay = createServer({ allowHalfOpen: true }, (from) => {
    const to = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    for (const [one, other] of [[from, to], [to, from]] as const) {
      sockets.add(one);
      one.on("error", () => other.destroy());
      one.pipe(other);
    }
    let hello = Buffer.alloc(0);
    const read = (bytes: Buffer): void => {
      hello = Buffer.concat([hello, bytes]);
      const offers = offersSession(hello);
      if (offers === undefined) return;
      from.off("data", read);
      seen.connections += 1;
      if (offers) seen.offering += 1;
    };
    from.on("data", read);
  });
  const relayPort = await new Promise<number>((resolve) => relay.listen(0, "127.0.0.1", () => resolve((relay.address() as { port: number }).port)));
  try {
    await client(relayPort);
    return seen;
  } finally {
    for (const socket of sockets) socket.destroy();
    relay.close();
  }
}
