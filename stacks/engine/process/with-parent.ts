import { loadLate } from "./load-late.js";

/**
 * Loaded before the program and the provider: they end with the engine, also when that is killed, so that none of its steps goes on beside the next
 * operation. The engine holds the other end of standard input; nothing is ever written to it.
 */
process.stdin.once("close", () => process.exit(1));
process.stdin.resume();
(process.stdin as typeof process.stdin & { unref?: () => void }).unref?.();
loadLate();
