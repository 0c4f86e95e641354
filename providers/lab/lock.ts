import { createHash } from "node:crypto";
import { createServer, type Server } from "node:net";
import { retry } from "../../daemon/lib/backoff.js";
import { HcError } from "../../daemon/lib/errors.js";

/**
 * A lock of this machine: an abstract Unix socket (unix(7)). The kernel gives it up when its holder ends, however it ends, so
 * there is no stale lock to judge. Two holders in one process exclude each other as well.
 */
function listen(name: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "EADDRINUSE" ? new HcError("LOCKED", `Another process works on ${name}.`) : error));
    server.listen({ path: `\0hybridcluster-lab:${createHash("sha256").update(name).digest("hex").slice(0, 32)}`, exclusive: true }, () => resolve(server));
  });
}

/** Runs `act` while holding the lock `name`; waits for it up to `withinMs`, then throws TIMEOUT. Not re-entrant. */
export async function withLock<T>(name: string, withinMs: number, act: () => Promise<T>): Promise<T> {
  const server = await retry(`lock ${name}`, { withinMs, firstMs: 10, capMs: 200 }, () => listen(name));
  try {
    return await act();
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
}
