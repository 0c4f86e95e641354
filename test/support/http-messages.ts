import { BodyReader, FramingError } from "../../daemon/proxy/body-framing.js";
import { HeadError, headEnd, parseRequest, parseResponse, type RequestHead, type ResponseHead } from "../../daemon/proxy/http-head.js";

/** What became of the bytes of one message. `rest` = what follows it; `complete`: its end was seen. */
export type Reading<Head> = { refused: number | "body" } | { head: Head; body: string; rest: string; complete: boolean } | { head: undefined; rest: string };

/** Reads one message as a session of the proxy does, from bytes that come in these pieces. Anything thrown but the two known errors is passed on. */
export function readMessage<Head extends RequestHead | ResponseHead>(pieces: readonly Buffer[], parse: (head: Buffer) => Head): Reading<Head> {
  let seen: Buffer = Buffer.alloc(0);
  let head: Head | undefined;
  let reader: BodyReader | undefined;
  let body = "";
  let rest = "";
  const take = (bytes: Buffer): void => {
    const used = (reader as BodyReader).take(bytes, (data) => {
      body += data.toString("latin1");
    });
    rest += bytes.toString("latin1", used);
  };
  try {
    for (const piece of pieces) {
      if (reader !== undefined) {
        take(piece);
        continue;
      }
      const searched = seen.length;
      seen = searched === 0 ? piece : Buffer.concat([seen, piece]);
      const end = headEnd(seen, searched);
      if (end === -1) continue;
      head = parse(seen.subarray(0, end));
      reader = new BodyReader(head.framing);
      take(seen.subarray(end));
    }
  } catch (error) {
    if (error instanceof HeadError) return { refused: error.status };
    if (error instanceof FramingError) return { refused: "body" };
    throw error;
  }
  return head === undefined || reader === undefined ? { head: undefined, rest: seen.toString("latin1") } : { head, body, rest, complete: reader.done };
}
export const readRequest = (pieces: readonly Buffer[]): Reading<RequestHead> => readMessage(pieces, parseRequest);
/** A response's head that is refused while it is collected is a bad gateway too. */
export function readResponse(pieces: readonly Buffer[], method: string): Reading<ResponseHead> {
  const reading = readMessage(pieces, (head) => parseResponse(head, method));
  return "refused" in reading && reading.refused !== "body" ? { refused: 502 } : reading;
}
