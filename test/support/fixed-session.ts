import type { Session } from "../../daemon/context.js";

/** A session that never loses its sign of life but when told so. */
export function fixedSession(generation: number, isLive: () => boolean): Session {
  return { generation, isLive, owns: isLive, held: () => new Map(), silentMs: () => (isLive() ? 0 : Number.POSITIVE_INFINITY), deadlineMs: () => Number.POSITIVE_INFINITY };
}
