import { SocketAddress } from "node:net";

/**
 * The PROXY protocol, version 2 (haproxy's doc/proxy-protocol.txt §2.2): before anything else a load balancer says whose connection it is. Pure.
 * 12 bytes of signature, version and command, family and protocol, length of what follows: addresses, then TLVs, which are passed over (also CRC32C: TCP has its own checksum, and verifying it is optional).
 */
export const fixedBytes = 16;
/** Of what follows, at most: the largest addresses have 216 bytes, and real TLVs some hundred. The protocol itself would allow 65,535. */
export const mostBytes = 1024;
const signature = Buffer.from("0d0a0d0a000d0a515549540a", "hex");

export class ProxyHeaderError extends Error {}

/** The first 16 bytes → how many follow. Throws ProxyHeaderError. */
export function bytesThatFollow(start: Buffer): number {
  if (!start.subarray(0, signature.length).equals(signature)) throw new ProxyHeaderError("no PROXY header of version 2");
  const [versionAndCommand, kind] = [start[12] as number, start[13] as number];
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21) throw new ProxyHeaderError("unknown version or command");
  // of LOCAL nothing else counts
  if (versionAndCommand === 0x21 && (kind >> 4 > 3 || (kind & 0x0f) > 2)) throw new ProxyHeaderError("unknown family or protocol");
  const bytes = start.readUInt16BE(14);
  if (bytes > mostBytes) throw new ProxyHeaderError(`header of more than ${fixedBytes + mostBytes} bytes`);
  return bytes;
}

/** The client's address, or undefined where the connection is the balancer's own (LOCAL: a health check), or one of a kind that has none (UNSPEC, UDP, Unix): then the connection's own counts. Throws ProxyHeaderError. */
export function clientOf(start: Buffer, following: Buffer): string | undefined {
  if (start[12] === 0x20) return undefined;
  if (start[13] === 0x11) {
    if (following.length < 12) throw new ProxyHeaderError("addresses are missing");
    return following.subarray(0, 4).join(".");
  }
  if (start[13] !== 0x21) return undefined;
  if (following.length < 36) throw new ProxyHeaderError("addresses are missing");
  const groups = Array.from({ length: 8 }, (_, at) => following.readUInt16BE(2 * at).toString(16));
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address.replace(/^::ffff:(?=.*\.)/, "");
}
