/**
 * Collects one answer with a Content-Length (all sides' answers here have one) from a connection's chunks: returns its status when it is whole, else undefined, and is then ready for the next one.
 * Enough for a client that trusts the other side; no parser of HTTP.
 */
export function answerReader(): (chunk: Buffer) => string | undefined {
  let text = "";
  return (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text.slice(0, end + 2))?.[1];
    if (length === undefined) throw new Error(`an answer without Content-Length: ${text.slice(0, end)}`);
    if (text.length < end + 4 + Number(length)) return undefined;
    const status = text.slice(9, 12);
    text = "";
    return status;
  };
}
