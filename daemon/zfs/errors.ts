import { type CommandResult, commandFailed } from "../lib/command.js";
import { type ErrorCode, HcError, type Retry } from "../lib/errors.js";

/** What zfs says when it refuses, by anchored patterns. `verified` names the versions on which the text was seen. */
export type ZfsFailure = "missing" | "exists" | "busy" | "space" | "already" | "has-clones" | "has-children" | "mismatch" | "modified" | "bad-stream" | "no-tag" | "quota-below-used" | "not-empty" | "partial" | "no-partial";
interface Pattern { failure: ZfsFailure; code: ErrorCode; retry?: Retry; pattern: RegExp }

const patterns: readonly Pattern[] = [
  // verified on zfs-fuse 0.7.0 (lab) and OpenZFS 2.1.11; all texts that were seen: test/fixtures/zfs/failures.json, failures-openzfs.json
  { failure: "missing", code: "NOT_FOUND", pattern: /^cannot [a-z ]+'[^']+'( to '[^']+')?: (dataset|snapshot|parent) does not exist$/m },
  { failure: "missing", code: "NOT_FOUND", pattern: /^could not find any snapshots to destroy/m },
  // verified on zfs-fuse 0.7.0: send of a missing snapshot; OpenZFS 2.1.11 says "cannot open '…': dataset does not exist"
  { failure: "missing", code: "NOT_FOUND", pattern: /^WARNING: could not send [^ ]+: does not exist$/m },
  // verified on zfs-fuse 0.7.0, OpenZFS 2.1.11: increment of a clone whose origin is not here
  { failure: "missing", code: "NOT_FOUND", pattern: /^cannot receive: local origin for clone [^ ]+ does not exist$/m },
  // verified on OpenZFS 2.1.11
  { failure: "missing", code: "NOT_FOUND", pattern: /^cannot receive incremental stream: destination '[^']+' does not exist$/m },
  // verified on OpenZFS 2.1.11: a resume token whose snapshot or source was destroyed, or replaced by one of the same name
  { failure: "missing", code: "NOT_FOUND", pattern: /^cannot resume send: ('[^']+' used in the initial send no longer exists|incremental source [^ ]+ no longer exists|'[^']+' is no longer the same snapshot)/m },
  // verified on OpenZFS 2.1.11
  { failure: "partial", code: "CONFLICT", retry: "never", pattern: /^cannot receive[a-z ]*: destination [^ ]+ contains partially-complete state from "zfs receive -s"/m },
  { failure: "no-partial", code: "NOT_FOUND", pattern: /^'[^']+' does not have any resumable receive state to abort/m },
  { failure: "no-tag", code: "NOT_FOUND", pattern: /^cannot release '[^']+' from '[^']+'|^cannot release hold from snapshot '[^']+': no such tag/m },
  // verified on zfs-fuse 0.7.0, OpenZFS 2.1.11
  { failure: "exists", code: "ALREADY_EXISTS", pattern: /^cannot [a-z ]+'[^']+': (dataset|pool) already exists$|^cannot receive new filesystem stream: destination '[^']+' exists$/m },
  { failure: "already", code: "ALREADY_EXISTS", pattern: /^cannot hold (snapshot )?'[^']+': tag already exists on this dataset$|: filesystem already mounted$|: not currently mounted$/m },
  // verified on zfs-fuse 0.7.0 (10–50 ms after an unmount; held snapshots), OpenZFS 2.1.11 ("pool or dataset is busy")
  { failure: "busy", code: "NOT_READY", pattern: /: (pool or )?dataset is busy$|: (it's being held|Device busy|Device or resource busy)|^umount: .*: target is busy|: still mounted/m },
  // verified on zfs-fuse 0.7.0: a rollback within some ms of the unmount. An I/O error of the disks is still there when the retries are over, and is told then
  { failure: "busy", code: "NOT_READY", pattern: /^cannot rollback '[^']+': I\/O error$/m },
  // verified on zfs-fuse 0.7.0, OpenZFS 2.1.11
  { failure: "space", code: "LIMIT_EXCEEDED", pattern: /: out of space$|: No space left on device$|: Disk quota exceeded$|destination '?[^ ]+'? space quota exceeded/m },
  { failure: "quota-below-used", code: "IMPOSSIBLE_CHANGE", pattern: /: size is less than current used or reserved space$/m },
  // verified on zfs-fuse 0.7.0; OpenZFS mounts over it (overlay=on, the default since 2.0), and says the same with overlay=off
  { failure: "not-empty", code: "COMMAND_FAILED", pattern: /^cannot mount '[^']+': directory is not empty$/m },
  { failure: "has-clones", code: "CONFLICT", retry: "never", pattern: /: snapshot has dependent clones$|: filesystem has dependent clones$/m },
  { failure: "has-children", code: "CONFLICT", retry: "never", pattern: /: filesystem has children$/m },
  // verified on OpenZFS 2.1.11: an increment whose target is here already (after the line "failed to read from stream")
  { failure: "mismatch", code: "NO_COMMON_SNAPSHOT", pattern: /^cannot restore to [^ ]+: destination already exists$/m },
  // verified on zfs-fuse 0.7.0 (broken over two lines), OpenZFS 2.1.11
  { failure: "mismatch", code: "NO_COMMON_SNAPSHOT", pattern: /^cannot receive incremental stream: most recent snapshot of [^ ]+ does not\s+match incremental source/m },
  { failure: "modified", code: "DIVERGED", pattern: /^cannot receive incremental stream: destination [^ ]+ has been modified\s+since most recent snapshot/m },
  // verified on zfs-fuse 0.7.0, OpenZFS 2.1.11: cut, altered and empty streams; with `receive -s` the token follows
  { failure: "bad-stream", code: "COMMAND_FAILED", retry: "transient", pattern: /^cannot receive[a-z ]*: (invalid backup stream|invalid stream \(checksum mismatch\)|failed to read from stream|incomplete stream|checksum mismatch)/m },
];

/** The failure that a finished zfs command tells of, or undefined when its text is unknown. */
export function recognize(stderr: string): { failure: ZfsFailure; code: ErrorCode; retry?: Retry } | undefined {
  return patterns.find(({ pattern }) => pattern.test(stderr));
}

/** A typed error of a zfs command that ended non-zero; `context.zfs` is the recognised failure. */
export function zfsError(argv: readonly string[], result: CommandResult): HcError {
  const known = recognize(result.stderr);
  const plain = commandFailed(argv, result);
  if (known === undefined) return plain;
  return new HcError(known.code, plain.message, { context: { ...plain.context, zfs: known.failure }, ...(known.retry === undefined ? {} : { retry: known.retry }) });
}

export const zfsFailure = (error: unknown): ZfsFailure | undefined => (error as { context?: { zfs?: ZfsFailure } } | null)?.context?.zfs;
