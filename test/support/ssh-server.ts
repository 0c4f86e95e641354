import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { Server, utils } from "ssh2";
import { makeKey } from "../../providers/lab/keys.js";
import type { SshTarget } from "../../providers/ssh/pool.js";

/** An sshd inside the test process that really runs commands, as this user, and really forwards to Unix sockets. */
export interface TestSshServer {
  target: SshTarget;
  /** Connections that were made so far. */
  connections(): number;
  /** Breaks all connections, as a network does. */
  breakAll(): void;
  close(): Promise<void>;
}
const pair = (): { private: string; public: string } => {
  const { privateKey, publicKey } = makeKey("test");
  return { private: privateKey, public: publicKey };
};
/** "ssh-ed25519 AAAA…" without the comment. */
const pinnedForm = (publicKey: string): string => publicKey.split(" ").slice(0, 2).join(" ");

export async function startSshServer(options: { rejectKeys?: boolean } = {}): Promise<TestSshServer> {
  const folder = mkdtempSync(join(tmpdir(), "hc-sshd-"));
  const [hostKey, userKey] = [pair(), pair()];
  const privateKeyPath = join(folder, "id");
  writeFileSync(privateKeyPath, userKey.private, { mode: 0o600 });
  const wanted = utils.parseKey(userKey.public);
  if (wanted instanceof Error) throw wanted;
  const clients = new Set<{ end(): void }>();
  const sockets = new Set<{ destroy(): void }>();
  let made = 0;
  const server = new Server({ hostKeys: [hostKey.private] }, (client, info) => {
    void info;
    made += 1;
    clients.add(client);
    client.on("error", () => undefined).on("close", () => clients.delete(client));
    client.on("authentication", (ask) => (options.rejectKeys !== true && ask.method === "publickey" && ask.key.data.equals(wanted.getPublicSSH()) ? ask.accept() : ask.reject(["publickey"])));
    client.on("ready", () => {
      client.on("session", (accept) => {
        accept().on("exec", (acceptExec, _reject, { command }) => {
          const channel = acceptExec();
          // as sshd does: the login shell with -c, in a session of its own, running on when the channel goes
          const child = spawn("/bin/sh", ["-c", command], { detached: true, stdio: ["pipe", "pipe", "pipe"] });
          child.on("error", () => channel.close());
          child.stdin.on("error", () => undefined);
          channel.on("error", () => undefined).pipe(child.stdin);
          child.stdout.pipe(channel, { end: false });
          child.stderr.pipe(channel.stderr, { end: false });
          child.on("close", (code, signal) => {
            if (signal === null) channel.exit(code ?? 0);
            else channel.exit(signal.slice(3) as never);
            channel.end();
          });
        });
      });
      client.on("openssh.streamlocal" as never, ((accept: () => NodeJS.ReadWriteStream, reject: () => void, info: { socketPath: string }) => {
        const socket = connect(info.socketPath);
        sockets.add(socket);
        socket.once("connect", () => {
          const channel = accept();
          channel.on("error", () => undefined).pipe(socket).on("error", () => undefined).pipe(channel);
        });
        socket.once("error", () => reject());
        socket.on("close", () => sockets.delete(socket));
      }) as never);
    });
  });
  const raw = (server as unknown as { _srv: { on(event: "connection", act: (socket: { destroy(): void; on(e: string, a: () => void): void }) => void): void } })._srv;
  const tcp = new Set<{ destroy(): void }>();
  raw.on("connection", (socket) => {
    tcp.add(socket);
    socket.on("close", () => tcp.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    target: { address: "127.0.0.1", port, user: userInfo().username, hostKey: pinnedForm(hostKey.public), privateKeyPath },
    connections: () => made,
    breakAll: () => { for (const socket of tcp) socket.destroy(); },
    async close() {
      for (const client of clients) client.end();
      for (const socket of [...sockets, ...tcp]) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
