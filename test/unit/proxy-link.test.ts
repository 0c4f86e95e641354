import { randomBytes } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { Link, type Sink } from "../../daemon/proxy/link.js";
import { Ticker } from "../../daemon/proxy/ticker.js";
import { listen } from "../support/proxy-pair.js";

const nobody: Sink = { onBytes: () => undefined, onEnd: () => undefined, onGone: () => undefined, onDrain: () => undefined, onOverdue: () => undefined };

test("a connection that ends after its answer waits for a reader who is slower than the linger time", async () => {
  const ticker = new Ticker(() => undefined);
  const answer = Buffer.alloc(24 * 1024 * 1024, "x");
  let told = (): void => undefined;
  const gone = new Promise<void>((resolve) => (told = resolve));
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once("close", told);
    const link = new Link(socket, ticker, nobody);
    link.write(answer); // more than the kernel takes
    link.linger(200);
  });
  const client: Socket = connect(await listen(server as never, 0, "127.0.0.1"), "127.0.0.1");
  try {
    await new Promise((resolve) => client.once("readable", resolve));
    // reads nothing for longer than that
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    let bytes = 0;
    client.on("data", (part: Buffer) => (bytes += part.length)).on("error", () => undefined);
    await new Promise((resolve) => client.once("end", resolve).once("close", resolve));
    expect(bytes).toBe(answer.length);
  } finally {
    client.destroy();
    await gone;
    ticker.stop();
    server.close();
  }
});

test("bytes that are lent stay as they are, and many small pieces of them share a buffer", async () => {
  const pieces = Array.from({ length: 600 }, (_, at) => randomBytes(500 + at * 2));
  // each piece is sent when the one before has been read: as answers come on a connection that is kept
  const server = createServer((socket) => {
    let next = 0;
    socket.on("error", () => undefined);
    socket.on("data", () => void socket.write(pieces[next++] as Buffer));
  });
  const port = await listen(server as never, 0, "127.0.0.1");
  const ticker = new Ticker();
  const kept: Buffer[] = [];
  const lent: Buffer[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      let [piece, left] = [0, (pieces[0] as Buffer).length];
      const link = Link.dial({ host: "127.0.0.1", port }, ticker, {
        onBytes: (bytes) => {
          // every third is not lent, and what comes after it may overwrite it
          const isLent = piece % 3 !== 2;
          if (isLent) {
            link.lend();
            lent.push(bytes);
          }
          kept.push(isLent ? bytes : Buffer.from(bytes));
          left -= bytes.length;
          if (left > 0) return;
          piece += 1;
          if (piece === pieces.length) return void resolve();
          left = (pieces[piece] as Buffer).length;
          link.write("x");
        },
        onEnd: () => reject(new Error("ended")), onGone: () => reject(new Error("gone")), onDrain: () => undefined, onOverdue: () => reject(new Error("overdue")),
      });
      link.socket.once("connect", () => link.write("x"));
    });
    expect(Buffer.concat(kept).equals(Buffer.concat(pieces))).toBe(true);
    const bytes = lent.reduce((sum, { length }) => sum + length, 0);
    expect(new Set(lent.map(({ buffer }) => buffer)).size).toBeLessThanOrEqual(2 + Math.ceil(bytes / (128 * 1024)));
  } finally {
    ticker.stop();
    ticker.destroyAll();
    await new Promise((resolve) => server.close(resolve));
  }
});
