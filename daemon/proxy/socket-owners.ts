import { open } from "node:fs/promises";
import { isIPv4, isIPv6 } from "node:net";

/** Both ends of a TCP connection as its server sees them. */
export interface Ends { remoteAddress?: string | undefined; remotePort?: number | undefined; localAddress?: string | undefined; localPort?: number | undefined }

/** A look at the kernel's tables follows the one before after so long, ms; so many connections are looked for in one, and so much is read of a table (some 100,000 connections). */
const bounds = { pauseMs: 50, connections: 64, tableBytes: 16 * 1024 * 1024 };
const chunkBytes = 64 * 1024;

/** IPv4 within IPv6 (RFC 4291 §2.5.5.2) is IPv4 to the kernel, when its client speaks that. */
const plain = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, "");
/** Does a connection come from this very machine? To an own address the kernel takes that address for the client too (ip-route(8), table local). */
export function isOwn({ remoteAddress = "", localAddress }: Ends): boolean {
  const address = plain(remoteAddress);
  return address.startsWith("127.") || address === "::1" || (address !== "" && remoteAddress === localAddress);
}

/** The words of 32 bits of an address in the machine's order of bytes, which is little endian wherever Node runs hcd, as hexadecimal. */
function addressHex(address: string): string {
  const bytes = isIPv4(address) ? address.split(".").map(Number) : ipv6Bytes(address);
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) for (let byte = at + 3; byte >= at; byte -= 1) text += (bytes[byte] as number).toString(16).padStart(2, "0");
  return text.toUpperCase();
}
function ipv6Bytes(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const groups = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16)));
  const [first, last] = [groups(head), groups(tail ?? "")];
  const all = tail === undefined ? first : [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return all.flatMap((group) => [group >> 8, group & 255]);
}
const endHex = (address: string, port: number): string => `${addressHex(address)}:${port.toString(16).toUpperCase().padStart(4, "0")}`;

/** Pure: where the client's socket of a connection stands: the table, and its two address fields there (proc(5), /proc/net/tcp). Undefined for what is no such connection. */
export function clientEntry({ remoteAddress, remotePort, localAddress, localPort }: Ends): { table: "tcp" | "tcp6"; fields: string } | undefined {
  if (remoteAddress === undefined || remotePort === undefined || localAddress === undefined || localPort === undefined) return undefined;
  const [client, server] = [plain(remoteAddress), plain(localAddress)];
  const four = isIPv4(client) && isIPv4(server);
  // a zone or another spelling of IPv4 is in no table
  if (!four && !(isIPv6(client) && isIPv6(server) && !/[%.]/.test(client + server))) return undefined;
  return { table: four ? "tcp" : "tcp6", fields: ` ${endHex(client, remotePort)} ${endHex(server, localPort)} ` };
}
/** Pure: the uid in a line of such a table; undefined where the socket has no owner any more (its inode is 0). */
export function ownerIn(line: string): number | undefined {
  // sl local rem st tx:rx tr:when retrnsmt uid timeout inode
  const parts = line.trim().split(/\s+/);
  return /^\d+$/.test(parts[7] ?? "") && /^[1-9]\d*$/.test(parts[9] ?? "") ? Number(parts[7]) : undefined;
}

/** `looks`: that have missed it. */
interface Search { fields: string; looks: number; found(uid: number): void }
const tables = ["tcp", "tcp6"] as const;

/** Who owns the other end of connections from this machine (Linux; elsewhere nobody is found). However many ask: one look at a time, and a pause between two. */
export class SocketOwners {
  private readonly waiting: Record<(typeof tables)[number], Search[]> = { tcp: [], tcp6: [] };
  private busy = false;

  /** `folder`: of this network namespace's tables. */
  public constructor(private readonly folder = "/proc/net") {}

  /** `found` is called later, at most once, and never when the owner cannot be told. */
  public find(ends: Ends, found: (uid: number) => void): void {
    const entry = isOwn(ends) ? clientEntry(ends) : undefined;
    if (entry === undefined || this.waiting[entry.table].length >= bounds.connections) return;
    this.waiting[entry.table].push({ fields: entry.fields, looks: 0, found });
    if (!this.busy) void this.look();
  }

  private async look(): Promise<void> {
    this.busy = true;
    for (const table of tables) {
      const searches = this.waiting[table].splice(0);
      if (searches.length === 0) continue;
      const owners = await ownersOf(`${this.folder}/${table}`, searches.map(({ fields }) => fields));
      for (const one of searches) {
        one.looks += 1;
        const owner = owners.get(one.fields);
        if (owner !== undefined) one.found(owner);
        else if (one.looks < 2) this.waiting[table].push(one); // the table changes while it is read, and one may slip through
      }
    }
    setTimeout(() => {
      this.busy = false;
      if (tables.some((table) => this.waiting[table].length > 0)) void this.look();
    }, bounds.pauseMs).unref();
  }
}

/** The owners of these entries of a table, as far as they stand in it. */
async function ownersOf(path: string, wanted: readonly string[]): Promise<Map<string, number>> {
  const owners = new Map<string, number>();
  const left = new Set(wanted);
  const file = await open(path, "r").catch(() => undefined); // FreeBSD has no such table
  try {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    let rest = "";
    for (let read = 0; file !== undefined && read < bounds.tableBytes && left.size > 0; ) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes);
      if (bytesRead === 0) break;
      read += bytesRead;
      const text = rest + buffer.toString("latin1", 0, bytesRead);
      const end = text.lastIndexOf("\n");
      rest = text.slice(end + 1);
      for (const fields of left) {
        const at = text.indexOf(fields);
        if (at === -1 || at > end) continue;
        left.delete(fields);
        const uid = ownerIn(text.slice(text.lastIndexOf("\n", at) + 1, text.indexOf("\n", at)));
        if (uid !== undefined) owners.set(fields, uid);
      }
    }
  } catch {
    // what was read is what is known
  } finally {
    await file?.close();
  }
  return owners;
}
