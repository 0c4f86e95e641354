/** etcd's `range_end` of "all keys with this prefix": the prefix with its last byte (below 0xff) counted up. */
export function prefixEnd(prefix: string): Buffer {
  const bytes = Buffer.from(prefix, "utf8");
  for (let at = bytes.length - 1; at >= 0; at -= 1) {
    const byte = bytes[at] as number;
    if (byte < 0xff) {
      const end = Buffer.from(bytes.subarray(0, at + 1));
      end[at] = byte + 1;
      return end;
    }
  }
  return Buffer.from([0]);
}

export const toBase64 = (text: string): string => Buffer.from(text, "utf8").toString("base64");
export const fromBase64 = (text: string | undefined): string => (text === undefined ? "" : Buffer.from(text, "base64").toString("utf8"));
