import { errorCode } from "../daemon/lib/errors.js";

/** Exit codes of hc. `hc status` uses 0, 1, 2 for ok, warning, critical (monitoring plug-ins' convention). */
export const exitCodes = { ok: 0, failed: 1, usage: 2, unreachable: 3, refused: 4, cancelled: 130 } as const;

export function exitCodeOf(error: unknown): number {
  switch (errorCode(error)) {
    case "ABORTED": return exitCodes.cancelled;
    case "INVALID_INPUT": return exitCodes.usage;
    case "UNREACHABLE": case "NO_QUORUM": case "AUTHENTICATION_FAILED": case "HOST_KEY_MISMATCH": return exitCodes.unreachable;
    case "DELETE_GUARD": case "CONFLICT": case "LOCKED": case "POOL_IN_USE": case "IMPOSSIBLE_CHANGE": return exitCodes.refused;
    default: return exitCodes.failed;
  }
}
