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

function badStream(why: string): HcError {
  return new HcError("COMMAND_FAILED", `cannot receive: ${why}`, { retry: "transient", context: { zfs: "bad-stream" } });
}

export function decodeFakeStream(bytes: Buffer): FakeStream {
  if (bytes.length < 12 || !bytes.subarray(0, 8).equals(magic)) throw badStream("failed to read from stream");
  const end = 12 + bytes.readUInt32BE(8);
  if (bytes.length < end + 32) throw badStream("invalid backup stream");
  const body = bytes.subarray(12, end);
  if (!createHash("sha256").update(body).digest().equals(bytes.subarray(end, end + 32))) throw badStream("invalid stream (checksum mismatch)");
  return JSON.parse(body.toString()) as FakeStream;
}

/** What a `receive -s` keeps of a cut stream: its bytes so far, and what its beginning tells (guid, snapshot and source, as ZFS's BEGIN record does). */
export interface FakePartial { bytes: Buffer; guid: string; snapshot: string; fromGuid: string }

/** Undefined when not even the beginning is there. */
export function partialOf(bytes: Buffer): FakePartial | undefined {
  const match = /^.{8}.{4}\{"guid":"([0-9]+)","snapshot":"([^"]+)","atMs":[0-9]+,"fromGuid":"([0-9]*)"/s.exec(bytes.toString("latin1"));
  if (match === null || !bytes.subarray(0, 8).equals(magic)) return undefined;
  return { bytes, guid: match[1] as string, snapshot: match[2] as string, fromGuid: match[3] as string };
}

/** Form of a real token, 1-<checksum>-<size>-<packed list>, with what the fake needs in it. */
export function encodeToken(partial: FakePartial): string {
  const packed = Buffer.from(JSON.stringify([partial.guid, partial.snapshot, partial.fromGuid, partial.bytes.length])).toString("hex");
  return `1-${createHash("sha256").update(packed).digest("hex").slice(0, 8)}-${(packed.length / 2).toString(16)}-${packed}`;
}
export function decodeToken(token: string): { guid: string; snapshot: string; fromGuid: string; offset: number } {
  const [, check, , packed = ""] = token.split("-");
  if (createHash("sha256").update(packed).digest("hex").slice(0, 8) !== check) throw new HcError("COMMAND_FAILED", "cannot resume send: resume token is corrupt (incorrect checksum)");
  const [guid, snapshot, fromGuid, offset] = JSON.parse(Buffer.from(packed, "hex").toString()) as [string, string, string, number];
  return { guid, snapshot, fromGuid, offset };
}

const resumed = Buffer.from("FAKEZFSR");
/** The rest of a stream from `offset` on, for the partial state of that snapshot and length. */
export function encodeRest(whole: Buffer, guid: string, offset: number): Buffer {
  const head = Buffer.alloc(12);
  head.writeBigUInt64BE(BigInt(guid));
  head.writeUInt32BE(offset, 8);
  return Buffer.concat([resumed, head, whole.subarray(offset)]);
}
/** Undefined for a stream from the beginning. */
export function readRest(bytes: Buffer): { guid: string; offset: number; rest: Buffer } | undefined {
  if (bytes.length < 20 || !bytes.subarray(0, 8).equals(resumed)) return undefined;
  return { guid: bytes.readBigUInt64BE(8).toString(), offset: bytes.readUInt32BE(16), rest: bytes.subarray(20) };
}
