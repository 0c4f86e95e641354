import { createHash } from "node:crypto";
import { HcError } from "../lib/errors.js";

/** Streams of the fake ZFS: magic, length, JSON, SHA-256; any cut or altered byte is refused, as the real one does. */
export interface FakeStream {
  guid: string;
  snapshot: string;
  atMs: number;
  /** guid of the incremental source, "" for a full stream. */
  fromGuid: string;
  /** Increment of a clone from its origin. */
  clone: boolean;
  put: Record<string, string>;
  removed: string[];
}
const magic = Buffer.from("FAKEZFS1");

export function encodeFakeStream(stream: FakeStream): Buffer {
  const body = Buffer.from(JSON.stringify(stream));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([magic, length, body, createHash("sha256").update(body).digest()]);
}

export function decodeFakeStream(bytes: Buffer): FakeStream {
  const bad = (why: string): HcError => new HcError("COMMAND_FAILED", `cannot receive: ${why}`, { retry: "transient", context: { zfs: "bad-stream" } });
  if (bytes.length < 12 || !bytes.subarray(0, 8).equals(magic)) throw bad("failed to read from stream");
  const end = 12 + bytes.readUInt32BE(8);
  if (bytes.length < end + 32) throw bad("invalid backup stream");
  const body = bytes.subarray(12, end);
  if (!createHash("sha256").update(body).digest().equals(bytes.subarray(end, end + 32))) throw bad("invalid stream (checksum mismatch)");
  return JSON.parse(body.toString()) as FakeStream;
}
