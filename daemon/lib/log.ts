import pino, { type Logger } from "pino";

export type { Logger };

/** One line a fact: constant message, data in fields (`unit`, `node`, `epoch`, `durationMs`). Secrets are never given to it; the list below is the second line of defence. */
export function createLogger(name: string, destination?: pino.DestinationStream): Logger {
  const options: pino.LoggerOptions = {
    name,
    level: process.env["HC_LOG_LEVEL"] ?? "info",
    redact: { paths: ["key", "*.key", "password", "*.password", "privateKey", "*.privateKey", "secret", "*.secret"], censor: "[secret]" },
    serializers: { err: pino.stdSerializers.err },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
