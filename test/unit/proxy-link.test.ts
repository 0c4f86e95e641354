import { randomBytes } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { limits } from "../../daemon/proxy/limits.js";
import { Link, type Sink } from "../../daemon/proxy/link.js";
import { Ticker } from "../../daemon/proxy/ticker.js";
import { listen, until } from "../support/proxy-pair.js";

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

/** A server that answers each connection with `answer` and lingers; a client that has read nothing yet. */
async function lingering(answer: Buffer, lingerMs: number): Promise<{ client: Socket; gone: Promise<void>; isGone(): boolean; stop(): Promise<void> }> {
  const ticker = new Ticker(() => undefined);
  let told = (): void => undefined;
  let over = false;
  const gone = new Promise<void>((resolve) => {
    told = () => {
      over = true;
      resolve();
    };
  });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once("close", told);
    const link = new Link(socket, ticker, nobody);
    link.write(answer);
    link.linger(lingerMs);
  });
  const client = connect({ port: await listen(server as never, 0, "127.0.0.1"), host: "127.0.0.1", allowHalfOpen: true });
  await new Promise((resolve) => client.once("readable", resolve));
  return {
    client, gone,
    isGone: () => over,
    stop: async () => {
      client.destroy();
      await gone;
      ticker.stop();
      server.close();
    },
  };
}

test("a client that has ended its side gets the end of its answer all the same", async () => {
  const answer = Buffer.alloc(24 * 1024 * 1024, "x");
  const { client, isGone, stop } = await lingering(answer, 60_000);
  try {
    client.end();
    let bytes = 0;
    // the server has heard of the end long before it is through
    client.on("data", (part: Buffer) => (bytes += part.length)).on("error", () => undefined);
    await new Promise((resolve) => client.once("end", resolve).once("close", resolve));
    expect(bytes).toBe(answer.length);
    // and nobody waits for a client that has said that it is done
    await until(isGone);
  } finally {
    await stop();
  }
});

test("the end of an answer that nobody takes is cut off after its time, by a reset: what arrived does not look complete", async () => {
  jest.replaceProperty(limits, "lastBytesMs", 500 as never);
  const { client, gone, stop } = await lingering(Buffer.alloc(24 * 1024 * 1024, "x"), 60_000);
  try {
    await gone;
    // a Node that has bytes to read yet takes a reset for an end; a write tells them apart, for after a mere end it succeeds
    client.on("error", () => undefined);
    expect(await new Promise((resolve) => client.write("x", resolve))).toMatchObject({ code: expect.stringMatching(/^(EPIPE|ECONNRESET)$/) });
  } finally {
    jest.restoreAllMocks();
    await stop();
  }
});

test("who sends on and on instead of taking the end of its answer is cut off too", async () => {
  jest.replaceProperty(limits, "lastBytesMs", 1_000 as never);
  jest.replaceProperty(limits, "bodyIdleMs", 1_000 as never);
  const { client, isGone, stop } = await lingering(Buffer.alloc(24 * 1024 * 1024, "x"), 60_000);
  client.on("error", () => undefined);
  const sending = setInterval(() => client.write("x"), 20);
  try {
    await until(isGone);
  } finally {
    clearInterval(sending);
    jest.restoreAllMocks();
    await stop();
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
