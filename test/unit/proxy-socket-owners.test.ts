import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clientEntry, type Ends, isOwn, ownerIn, SocketOwners } from "../../daemon/proxy/socket-owners.js";
import { listen, until } from "../support/proxy-pair.js";

const me = process.getuid?.() ?? -1;
const ends = (remoteAddress: string, remotePort: number, localAddress: string, localPort: number): Ends => ({ remoteAddress, remotePort, localAddress, localPort });

test("entries as proc(5) writes them: words in the machine's order, ports as numbers; IPv4 within IPv6 is IPv4", () => {
  expect(clientEntry(ends("127.0.0.1", 42_034, "127.0.0.1", 80))).toEqual({ table: "tcp", fields: " 0100007F:A432 0100007F:0050 " });
  expect(clientEntry(ends("::ffff:192.0.2.7", 65_535, "::ffff:192.0.2.7", 443))).toEqual({ table: "tcp", fields: " 070200C0:FFFF 070200C0:01BB " });
  expect(clientEntry(ends("::1", 1, "2001:db8:1:2::a:b", 80))).toEqual({ table: "tcp6", fields: " 00000000000000000000000001000000:0001 B80D012002000100000000000B000A00:0050 " });
  for (const none of [ends("fe80::1%eth0", 1, "fe80::1%eth0", 80), ends("nonsense", 1, "::1", 80), {}]) expect(clientEntry(none)).toBeUndefined();
});

test("the owner stands in the eighth column; what has no inode has none any more", () => {
  const line = (uid: number, inode: number): string => `   7: 0100007F:A432 0100007F:0050 01 00000000:00000000 00:00000000 00000000 ${uid}        0 ${inode} 1 0000000040756b78 20 4 0 10 -1`;
  expect([ownerIn(line(20_001, 4711)), ownerIn(line(0, 4711)), ownerIn(line(0, 0)), ownerIn("")]).toEqual([20_001, 0, undefined, undefined]);
});

test("own connections are those from loopback, and from the address that they go to", () => {
  const own = [ends("127.0.0.1", 1, "127.0.0.1", 80), ends("::ffff:127.9.9.9", 1, "::ffff:192.0.2.7", 80), ends("::1", 1, "::1", 80), ends("192.0.2.7", 1, "192.0.2.7", 80), ends("2001:db8::7", 1, "2001:db8::7", 80)];
  expect(own.map(isOwn)).toEqual(own.map(() => true));
  const others = [ends("192.0.2.8", 1, "192.0.2.7", 80), ends("::ffff:12.7.0.1", 1, "::ffff:192.0.2.7", 80), {}];
  expect(others.map(isOwn)).toEqual(others.map(() => false));
});

test.each(["127.0.0.1", "::1"])("a client of %s on this machine is found, many at once too; one that is not there is not", async (host) => {
  const accepted: Socket[] = [];
  const server = createServer((socket) => accepted.push(socket));
  const port = await listen(server as never, 0, "::");
  const clients = Array.from({ length: 20 }, () => connect(port, host));
  try {
    await until(() => accepted.length === clients.length);
    const owners = new SocketOwners();
    const found: number[] = [];
    const never: number[] = []; // nobody connects from port 1
    const [first] = accepted as [Socket];
    owners.find(ends(host, 1, host, port), (uid) => never.push(uid));
    for (const socket of accepted) owners.find(socket, (uid) => found.push(uid));
    await until(() => found.length === accepted.length);
    owners.find(first, (uid) => found.push(uid)); // the next look: the one before has missed what is not there
    await until(() => found.length === accepted.length + 1);
    expect([new Set(found), never]).toEqual([new Set([me]), []]);
  } finally {
    for (const socket of [...clients, ...accepted]) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("a large table is read piece by piece; what is missed is looked for once more; without a table nobody is found", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-owners-"));
  try {
    const { fields } = clientEntry(ends("127.0.0.1", 42_034, "127.0.0.1", 80)) as { fields: string };
    const filler = "   1: 0100007F:0001 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 28633292 1 0000000040756b78 100 0 0 10 0\n".repeat(20_000);
    const table = (text: string): void => writeFileSync(join(folder, "tcp"), `  sl  local_address rem_address   st\n${filler}${text}`);
    const owners = new SocketOwners(folder);
    const found: number[] = [];
    const ask = (): void => owners.find(ends("127.0.0.1", 42_034, "127.0.0.1", 80), (uid) => found.push(uid));
    ask(); // no table
    table(`   2:${fields}01 00000000:00000000 00:00000000 00000000 20001        0 4711 1\n`);
    await until(() => found.length === 1);
    ask();
    await until(() => found.length === 2);
    expect(found).toEqual([20_001, 20_001]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
