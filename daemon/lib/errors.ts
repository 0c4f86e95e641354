/**
 * The one table of error codes, and the one error class. Errors are recognised by `code`, never by `instanceof`
 * (a bundled artefact and the library may both be loaded). Messages name the thing, the value and what to do.
 */
export type Retry = "never" | "transient" | "unknown";

export const errorTable = {
  INVALID_INPUT: { retry: "never", meaning: "A property has a value that cannot be used; the message names property, value and fix." },
  CONFLICT: { retry: "transient", meaning: "Somebody else changed the same record first; look again, then repeat." },
  NOT_FOUND: { retry: "never", meaning: "The named thing does not exist." },
  ALREADY_EXISTS: { retry: "never", meaning: "The named thing exists and does not belong to this resource; use `adopt` or another name." },
  COMMAND_FAILED: { retry: "unknown", meaning: "An external command ended with an error; its last lines are in the message." },
  COMMAND_TIMEOUT: { retry: "unknown", meaning: "An external command was ended at its deadline; the act may have happened." },
  COMMAND_NOT_FOUND: { retry: "never", meaning: "A program that is needed is not installed on that machine." },
  UNREACHABLE: { retry: "transient", meaning: "No connection to the machine: address, port, network or a stopped machine." },
  HOST_KEY_MISMATCH: { retry: "never", meaning: "The machine shows another SSH host key than the pinned one." },
  AUTHENTICATION_FAILED: { retry: "never", meaning: "The machine refused the SSH key." },
  TIMEOUT: { retry: "unknown", meaning: "The act did not end before its deadline; it may still happen." },
  ABORTED: { retry: "unknown", meaning: "The act was cancelled." },
  NO_QUORUM: { retry: "transient", meaning: "etcd did not commit: too few of its members answer." },
  NOT_HOME: { retry: "transient", meaning: "The unit is not at home on this node." },
  NOT_LEADER: { retry: "transient", meaning: "This node is not the leader." },
  NOT_READY: { retry: "transient", meaning: "The thing exists but does not serve yet." },
  PORT_IN_USE: { retry: "never", meaning: "Another program listens on a port that is wanted; choose another port." },
  PATH_IN_USE: { retry: "never", meaning: "A path that is wanted exists and is not ours; choose another path." },
  POOL_IN_USE: { retry: "never", meaning: "The pool holds units or trash; move or purge them first." },
  IMPOSSIBLE_CHANGE: { retry: "never", meaning: "The change cannot be made to the living thing; the message gives the reason." },
  DIVERGED: { retry: "never", meaning: "Two histories of one unit exist; the losing one must be stashed first." },
  NO_COMMON_SNAPSHOT: { retry: "never", meaning: "Source and replica share no snapshot." },
  LIMIT_EXCEEDED: { retry: "transient", meaning: "A bound (queue, size, count) was reached." },
  LOCKED: { retry: "transient", meaning: "Another `up` holds the lock." },
  DELETE_GUARD: { retry: "never", meaning: "More data-holding resources would be removed than were allowed." },
  CONFIG_REFUSED: { retry: "never", meaning: "A service refused its new configuration; the old one is still in force." },
  UNSUPPORTED: { retry: "never", meaning: "This platform or version cannot do that." },
  INTERNAL: { retry: "unknown", meaning: "A defect in hybridcluster." },
} as const satisfies Record<string, { retry: Retry; meaning: string }>;

export type ErrorCode = keyof typeof errorTable;

export class HcError extends Error {
  public readonly code: ErrorCode;
  public readonly retry: Retry;
  public readonly context: Readonly<Record<string, unknown>>;
  public constructor(code: ErrorCode, message: string, options: { context?: Record<string, unknown>; cause?: unknown; retry?: Retry } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HcError";
    this.code = code;
    this.retry = options.retry ?? errorTable[code].retry;
    this.context = options.context ?? {};
  }
}

/** The code of an error made by `HcError` (in whichever copy of this module), else undefined. */
export function errorCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && code in errorTable ? (code as ErrorCode) : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
