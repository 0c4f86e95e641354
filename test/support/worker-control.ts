import { createServer, type Socket } from "node:net";
import { onLines, type ToWorker } from "../../daemon/proxy/channel.js";

export interface WorkerControl { path: string; push(message: ToWorker): void; /** Hellos of workers, so far. */ joined(): number; close(): Promise<void> }

/** The control process' place for workers of a test: a newcomer is told everything that was pushed so far, in order. */
export async function workerControl(path: string): Promise<WorkerControl> {
  const sockets = new Set<Socket>();
  const said: string[] = [];
  let hellos = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    onLines(socket, (message) => {
      if ((message as { type: string }).type === "hello") hellos += 1;
    });
    for (const line of said) socket.write(line);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    path,
    joined: () => hellos,
    push: (message) => {
      const line = `${JSON.stringify(message)}\n`;
      said.push(line);
      for (const socket of sockets) socket.write(line);
    },
    close: () => new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    }),
  };
}
