/** How zfs refuses → [the failure that errors.ts recognises, the code]. */
export type Expected = Readonly<Record<string, readonly [string | undefined, string]>>;

const common: Expected = {
  "missing-dataset": ["missing", "NOT_FOUND"], "missing-snapshot": ["missing", "NOT_FOUND"], "missing-parent": ["missing", "NOT_FOUND"], "missing-send": ["missing", "NOT_FOUND"], "no-origin": ["missing", "NOT_FOUND"],
  "exists-dataset": ["exists", "ALREADY_EXISTS"], "exists-snapshot": ["exists", "ALREADY_EXISTS"], "exists-rename": ["exists", "ALREADY_EXISTS"], "receive-exists": ["exists", "ALREADY_EXISTS"],
  "already-mounted": ["already", "ALREADY_EXISTS"], "not-mounted": ["already", "ALREADY_EXISTS"], "already-held": ["already", "ALREADY_EXISTS"], "no-tag": ["no-tag", "NOT_FOUND"],
  held: ["busy", "NOT_READY"], "mounted-busy": ["busy", "NOT_READY"], "has-clones": ["has-clones", "CONFLICT"], "has-children": ["has-children", "CONFLICT"],
  "receive-altered": ["bad-stream", "COMMAND_FAILED"], "receive-cut": ["bad-stream", "COMMAND_FAILED"], "receive-empty": ["bad-stream", "COMMAND_FAILED"],
  "receive-mismatch": ["mismatch", "NO_COMMON_SNAPSHOT"], "receive-space": ["space", "LIMIT_EXCEEDED"], "receive-modified": ["modified", "DIVERGED"], "quota-below-used": ["quota-below-used", "IMPOSSIBLE_CHANGE"],
};
export const failuresOfLab = common;
export const failuresOfOpenZfs: Expected = {
  ...common,
  "missing-rename": ["missing", "NOT_FOUND"], "receive-cut-early": ["bad-stream", "COMMAND_FAILED"], "receive-missing": ["missing", "NOT_FOUND"], "receive-again": ["mismatch", "NO_COMMON_SNAPSHOT"], 
  "receive-kept": ["bad-stream", "COMMAND_FAILED"], "receive-partial": ["partial", "CONFLICT"], "base-of-partial": ["has-clones", "CONFLICT"], "no-partial": ["no-partial", "NOT_FOUND"], "no-partial-at-all": ["missing", "NOT_FOUND"], "resume-gone": ["missing", "NOT_FOUND"],
  "write-space": ["space", "LIMIT_EXCEEDED"],
};
