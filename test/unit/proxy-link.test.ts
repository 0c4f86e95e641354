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
