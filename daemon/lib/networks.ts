import { BlockList, isIPv4, isIPv6 } from "node:net";

export interface Network { address: string; prefix: number; family: "ipv4" | "ipv6" }

/**
 * An address or a network ("192.0.2.10", "10.1.0.0/24", "2001:db8::/32"), else undefined. No network of everybody ("/0") and no IPv4 address in IPv6's clothes ("::ffff:…"): connections of such count as IPv4's. Pure.
 */
export function parseNetwork(text: string): Network | undefined {
  const match = /^([0-9A-Fa-f:.]+)(?:\/([1-9][0-9]{0,2}))?$/.exec(text);
  const address = match?.[1] ?? "";
  const family = isIPv4(address) ? "ipv4" : isIPv6(address) ? "ipv6" : undefined;
  if (match === null || family === undefined || /^::ffff:/i.test(address)) return undefined;
  const most = family === "ipv4" ? 32 : 128;
  const prefix = match[2] === undefined ? most : Number(match[2]);
  return prefix > most ? undefined : { address, prefix, family };
}

/** Networks in one list; what is none of them is left out. Pure. */
export function networkList(networks: readonly string[]): BlockList | undefined {
  if (networks.length === 0) return undefined;
  const list = new BlockList();
  for (const text of networks) {
    const network = parseNetwork(text);
    if (network !== undefined) list.addSubnet(network.address, network.prefix, network.family);
  }
  return list;
}
/** Pure. */
export const isListed = (list: BlockList | undefined, address: string): boolean => list?.check(address, address.includes(":") ? "ipv6" : "ipv4") === true;
/** Who is at the other end, as it would be written: IPv4 as such, without a zone. */
export const addressOf = (socket: { remoteAddress?: string | undefined }): string => (socket.remoteAddress ?? "0.0.0.0").replace(/^::ffff:/, "").replace(/%.*$/, "");

/** Of which load balancers' connections begin with a PROXY header. */
export interface ProxyProtocolSpec { from: string[] }
export const proxyProtocolSchema = {
  type: "object", additionalProperties: false, required: ["from"],
  properties: { from: { type: "array", items: { type: "string", maxLength: 64 }, minItems: 1, maxItems: 256, uniqueItems: true } },
} as const;
/** What cannot be used. */
export const networkFailures = ({ from }: ProxyProtocolSpec): { property: string; reason: string }[] =>
  from.flatMap((text, at) => (parseNetwork(text) === undefined ? [{ property: `proxyProtocol.from.${at}`, reason: `${JSON.stringify(text)} is no address or network of load balancers; write "192.0.2.10", "10.1.0.0/24" or "2001:db8::/64"` }] : []));
