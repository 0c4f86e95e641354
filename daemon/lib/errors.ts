/**
 * The one table of error codes, and the one error class. Errors are recognised by `code`, never by `instanceof`
 * (a bundled artefact and the library may both be loaded). Messages name the thing, the value and what to do. docs/errors.md is written from it.
 */
export type Retry = "never" | "transient" | "unknown";

export const errorTable = {
  INVALID_INPUT: { retry: "never", meaning: "A property has a value that cannot be used; the message names property, value and fix.", fix: "Change the named property in the program (or the argument), then run it again; nothing was changed." },
  CONFLICT: { retry: "transient", meaning: "Somebody else changed the same record first; look again, then repeat.", fix: "Run it again. If it comes back, the message names what holds the other value; for a document made through the API say `adopt: true`." },
  NOT_FOUND: { retry: "never", meaning: "The named thing does not exist.", fix: "Check the name: `hc units`, `hc nodes` and `hc trash list` show what there is." },
  ALREADY_EXISTS: { retry: "never", meaning: "The named thing exists and does not belong to this resource; use `adopt` or another name.", fix: "Say `adopt` where the resource has it, or choose another name; nothing that exists is taken over by itself." },
  COMMAND_FAILED: { retry: "unknown", meaning: "An external command ended with an error; its last lines are in the message.", fix: "Read the quoted lines; `hc ssh NODE` shows the machine, `hc doctor` checks it." },
  COMMAND_TIMEOUT: { retry: "unknown", meaning: "An external command was ended at its deadline; the act may have happened.", fix: "Look whether the machine is overloaded or a disk hangs (`hc status`), then run it again: steps can be repeated." },
  COMMAND_NOT_FOUND: { retry: "never", meaning: "A program that is needed is not installed on that machine.", fix: "Install what the message names, or run `hc up` again: it brings the packages of a host." },
  UNREACHABLE: { retry: "transient", meaning: "No connection to the machine: address, port, network or a stopped machine.", fix: "Check address, port and firewall, and that the machine runs; for a lab node: `hc lab start NODE`." },
  HOST_KEY_MISMATCH: { retry: "never", meaning: "The machine shows another SSH host key than the pinned one.", fix: "If the machine was made anew, put its new key into `hostKey`; if not, somebody else answers at this address: do not go on." },
  AUTHENTICATION_FAILED: { retry: "never", meaning: "The machine refused the SSH key.", fix: "Check `privateKeyPath` and `user`, and that the key is in that user's authorized_keys." },
  TIMEOUT: { retry: "unknown", meaning: "The act did not end before its deadline; it may still happen.", fix: "Run it again: what was done is kept. `hc why SITE` and `hc status` tell what it waited for." },
  ABORTED: { retry: "unknown", meaning: "The act was cancelled.", fix: "Run it again: what was done is kept, and the rest is done then." },
  NO_QUORUM: { retry: "transient", meaning: "etcd did not commit: too few of its members answer.", fix: "Bring back nodes until more than half of etcd's voters answer (`hc status`); sites go on meanwhile." },
  NOT_HOME: { retry: "transient", meaning: "The unit is not at home on this node.", fix: "Run it again; `hc site show SITE` names the home." },
  PROMISED: { retry: "transient", meaning: "A copy has promised its home not to be promoted: etcd did not commit a moment ago, and the home goes on meanwhile.", fix: "Wait 10 s and run it again; a home that is really gone asks for no more promises." },
  NOT_LEADER: { retry: "transient", meaning: "This node is not the leader.", fix: "Run it again; another node leads in a moment." },
  NOT_READY: { retry: "transient", meaning: "The thing exists but does not serve yet.", fix: "Wait, or ask `hc why SITE` and `hc doctor` what it waits for." },
  PORT_IN_USE: { retry: "never", meaning: "Another program listens on a port that is wanted; choose another port.", fix: "Give the Host another port in `ports`, or stop the other program." },
  PATH_IN_USE: { retry: "never", meaning: "A path that is wanted exists and is not ours; choose another path.", fix: "Give the Host another path in `paths`, or move what lies there." },
  POOL_IN_USE: { retry: "never", meaning: "The pool holds units or trash; move or purge them first.", fix: "Move the units (`hc move`), or empty the trash (`hc trash purge`), then run it again." },
  IMPOSSIBLE_CHANGE: { retry: "never", meaning: "The change cannot be made to the living thing; the message gives the reason.", fix: "Take the change back, or make a new resource and move the data there." },
  DIVERGED: { retry: "never", meaning: "Two histories of one unit exist; the losing one must be stashed first.", fix: "Nothing was overwritten. A history of an owner that had lost goes to the stash by itself (`hc stash list`). When this stays, the copy holds snapshots of its owner's own epoch that the home does not know: look at both (`hc site show SITE`), then rename the wrong one on its node (`hc ssh NODE -- zfs rename …`): a new copy is sent." },
  NO_COMMON_SNAPSHOT: { retry: "never", meaning: "Source and replica share no snapshot.", fix: "Nothing was overwritten. A copy of an earlier owner goes to the stash by itself. When this stays, rename the copy on its node (`hc ssh NODE -- zfs rename …`): a new one is sent in full." },
  LIMIT_EXCEEDED: { retry: "transient", meaning: "A bound (queue, size, count) was reached.", fix: "Run it again in a moment; if it stays, the message names the bound." },
  NOT_DELIVERED: { retry: "transient", meaning: "A receiver of alerts (webhook, mail, heartbeat) did not take what was sent.", fix: "Look at `hc alerts`, which names the receiver and what it answered; check address, token, port and certificate in the program's `Alerts`, then `hc alerts test`. Alerts are kept and tried again for a day." },
  LOCKED: { retry: "transient", meaning: "Another `up` holds the lock.", fix: "Wait for the other `up`. When its process is gone, the lock is taken over by itself." },
  DELETE_GUARD: { retry: "never", meaning: "More data-holding resources would be removed than were allowed.", fix: "Look at the preview. When it is meant, say `--allow-delete=N` with the number that the message gives." },
  CONFIG_REFUSED: { retry: "never", meaning: "A service refused its new configuration; the old one is still in force.", fix: "Correct the setting that the quoted line names; the service goes on with the old one." },
  UNSUPPORTED: { retry: "never", meaning: "This platform or version cannot do that.", fix: "Use a platform or version that can; the message says which." },
  INTERNAL: { retry: "unknown", meaning: "A defect in hybridcluster.", fix: "Run it again; if it stays, report it with the output of `hc version --nodes` and the last lines of `hc ssh NODE 'journalctl -u hcd'`." },
} as const satisfies Record<string, { retry: Retry; meaning: string; fix: string }>;

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

/** docs/errors.md, written by its test with UPDATE_DOCS=1. Pure. */
export function errorsMarkdown(): string {
  const again: Record<Retry, string> = { never: "no, not before something is changed", transient: "yes", unknown: "yes; the act may have happened" };
  const rows = Object.entries(errorTable).map(([code, { retry, meaning, fix }]) => `## ${code}\n${meaning}\n\n* What to do: ${fix}\n* Does running it again help? ${again[retry]}\n`);
  return `# Errors\n\nEvery error that \`hc\`, \`pulumi up\` or a node tells has one of these codes, in brackets or as \`error.code\` of JSON. Its message names the thing, the value and what to do.\nThis page is made from \`daemon/lib/errors.ts\`.\n\n${rows.join("\n")}`;
}

/** The code of an error made by `HcError` (in whichever copy of this module), else undefined. */
export function errorCode(error: unknown): ErrorCode | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && Object.hasOwn(errorTable, code) ? (code as ErrorCode) : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
