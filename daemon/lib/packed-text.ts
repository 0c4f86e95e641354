import { gunzipSync, gzipSync } from "node:zlib";
import { HcError } from "./errors.js";

/** zfs takes 8,191 bytes as a user property (zfsprops(8)), the lab's 4,095. */
export const packedLimitBytes = 4_000;
const mark = "gz:";
/** What is read back may be as large as the longest document (256 host names), and no larger: the value stands on a disk that came from elsewhere. */
const unpackedLimitBytes = 1024 * 1024;

/** Pure: a text as the value of a user property: itself, or `gz:` and base64 of its gzip where it is too long; undefined when even that is. */
export function packText(text: string): string | undefined {
  if (Buffer.byteLength(text) <= packedLimitBytes && !text.startsWith(mark)) return text;
  const packed = mark + gzipSync(text, { level: 9 }).toString("base64");
  return packed.length <= packedLimitBytes ? packed : undefined;
}
/** Pure: the other way. Throws INVALID_INPUT. */
export function unpackText(value: string): string {
  if (!value.startsWith(mark)) return value;
  try {
    return gunzipSync(Buffer.from(value.slice(mark.length), "base64"), { maxOutputLength: unpackedLimitBytes }).toString("utf8");
  } catch (error) {
    throw new HcError("INVALID_INPUT", `A packed property cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
