import { createServer, type Socket } from "node:net";
import { onLines, type ToControl, type ToWorker } from "../../daemon/proxy/channel.js";

export interface WorkerControl {
  path: string;
  push(message: ToWorker): void;
  /** All that workers have said. */
  heard: ToControl[];
  /** Ends the workers' lines, and forgets what was pushed: they come again, as to another process. */
  cut(): void;
  close(): Promise<void>;
}

/** The control process' place for workers of a test: a newcomer is told everything that was pushed so far, in order. */
export async function workerControl(path: string): Promise<WorkerControl> {
  const sockets = new Set<Socket>();
  const said: string[] = [];
  const heard: ToControl[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    onLines(socket, (message) => heard.push(message as ToControl));
    for (const line of said) socket.write(line);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    path,
    heard,
    push: (message) => {
      const line = `${JSON.stringify(message)}\n`;
      said.push(line);
      for (const socket of sockets) socket.write(line);
    },
    cut: () => {
      said.length = 0;
      for (const socket of sockets) socket.destroy();
    },
    close: () => new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    }),
  };
}
