import { chmod, mkdir, unlink } from "node:fs/promises";
import { createServer } from "node:http";
import { connect } from "node:net";
import { dirname } from "node:path";
import type { Running } from "../context.js";
import { HcError } from "../lib/errors.js";
import type { Router } from "./router.js";

/** Serves the router on a Unix socket that only root can open. A socket that nobody answers on is left over and replaced; a second hcd is refused. */
export async function startApiServer(path: string, router: Router): Promise<Running> {
  await mkdir(dirname(path), { recursive: true });
  if (await answers(path)) throw new HcError("PORT_IN_USE", `Another hcd serves ${path}.`);
  await unlink(path).catch(() => undefined);
  const server = createServer((request, response) => void router.handle(request, response, "local"));
  server.requestTimeout = 0; // uploads may take long; a silent connection ends after `timeout`
  server.timeout = 300_000;
  server.maxConnections = 256;
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(umask);
  }
  await chmod(path, 0o600);
  return {
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeIdleConnections();
        setTimeout(() => server.closeAllConnections(), 2000).unref();
      }),
  };
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
