import { connect, type TLSSocket } from "node:tls";
import { hosts } from "./scenarios.js";

/** One request on a new connection; `session`: of one before. */
function ask(port: number, session?: Buffer): Promise<{ socket: TLSSocket; tickets: Buffer[] }> {
  return new Promise((resolve, reject) => {
    const tickets: Buffer[] = [];
    // the one group that the load generators' OpenSSL and ours both begin with
    const socket = connect({ port, host: "127.0.0.1", servername: hosts.load, rejectUnauthorized: false, ecdhCurve: "X25519", ...(session === undefined ? {} : { session }) }, () => {
      socket.write(`GET /1k HTTP/1.1\r\nHost: ${hosts.load}\r\n\r\n`);
    });
    socket.setTimeout(5_000, () => socket.destroy(new Error(`port ${port} gave no answer over TLS`)));
    socket.on("session", (ticket: Buffer) => tickets.push(ticket));
    socket.once("data", (data: Buffer) => {
      if (data.toString("latin1", 0, 12) === "HTTP/1.1 200") resolve({ socket, tickets });
      else reject(new Error(`port ${port} over TLS: ${data.toString("latin1", 0, 100)}`));
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error(`port ${port} closed without an answer over TLS`)));
  });
}

/** What a side agrees on with a client, by what the client sees: version, cipher, key exchange, the certificate's key, session tickets, and whether they are good for anything. Alike on all sides, or their cost cannot be compared. */
export async function tlsFacts(port: number): Promise<string> {
  const { socket, tickets } = await ask(port);
  const exchange = socket.getEphemeralKeyInfo() as { name?: string } | null;
  const certificate = socket.getPeerCertificate(true);
  const facts = [socket.getProtocol(), socket.getCipher().standardName, exchange?.name, `certificate ${"asn1Curve" in certificate ? certificate.asn1Curve : "RSA"} of ${certificate.subject.CN} by ${certificate.issuer.CN}`, `${tickets.length} tickets`];
  const reusedAtOnce = socket.isSessionReused();
  socket.destroy();
  const again = await ask(port, tickets[0]);
  facts.push(!reusedAtOnce && again.socket.isSessionReused() ? "resumes" : "does not resume");
  again.socket.destroy();
  return facts.join(", ");
}
