import { requestOut, responseOut } from "../../daemon/proxy/heads-out.js";
import { headEnd, parseRequest, parseResponse, type RequestHead, type ResponseHead, writtenHead } from "../../daemon/proxy/http-head.js";
import { type Reading, readRequest, readResponse } from "../support/http-messages.js";
import { type Sample, sample } from "./messages.js";
import { Random } from "./random.js";

/** What must be true of every message. A property that fails throws; its message names it. */
const client = { address: "2001:db8::7", proto: "https" } as const;
const must = (holds: boolean, property: string, seen: unknown): void => {
  if (!holds) throw new Error(`${property}: ${JSON.stringify(seen)}`);
};
const parsed = <Head>(text: string, parse: (bytes: Buffer) => Head): Head => {
  const bytes = Buffer.from(text, "latin1");
  must(headEnd(bytes, 0, writtenHead.mostBytes) === bytes.length, "what is written is one head", text);
  return parse(bytes);
};

function checkLines(text: string, fields: number): void {
  const lines = text.slice(0, -4).split("\r\n");
  must(lines.length === fields + 1, "a written field is one line", text);
  for (const line of lines) must(!/[\0\r\n]/.test(line), "no CR, LF or NUL in a line", line);
}
/** What is written has the same meaning, and writing that anew changes nothing. */
export function checkRequestOut(head: RequestHead): void {
  const text = requestOut(head, client);
  const again = parsed(text, (bytes) => parseRequest(bytes, writtenHead.mostFields));
  const meaning = ({ method, target, host, framing, upgrade, expectContinue }: RequestHead): string => JSON.stringify({ method, target, host, framing, upgrade, expectContinue });
  must(meaning(again) === meaning(head), "what is written means the same", { head, text });
  must(again.keepAlive && again.minor === 1, "the upstream is kept", text);
  checkLines(text, again.fields.length);
  must(requestOut(again, client) === text, "writing it anew adds nothing", { text, again: requestOut(again, client) });
}
export function checkResponseOut(head: ResponseHead, method: string): void {
  const options = { keep: head.keepAlive, clientMinor: 1, dechunk: false } as const;
  const text = responseOut(head, options);
  const again = parsed(text, (bytes) => parseResponse(bytes, method));
  must(again.status === head.status && again.reason === head.reason && JSON.stringify(again.framing) === JSON.stringify(head.framing), "what is written means the same", { head, text });
  if (head.status >= 200) must(again.keepAlive === head.keepAlive, "it says whether the connection goes on", text);
  checkLines(text, again.fields.length);
  must(responseOut(again, options) === text, "writing it anew adds nothing", { text, again: responseOut(again, options) });
}

const requestGrammar = /^(?:\r\n)?[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [!"$-~]+ HTTP\/1\.[01]\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/;
const responseGrammar = /^HTTP\/1\.[01] [1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/;
/** What is accepted, looked at in the plainest way: by the grammar, and framed by one length or by "chunked", said once. */
function checkAccepted(head: string, framing: string): void {
  must((head.startsWith("HTTP/") ? responseGrammar : requestGrammar).test(head), "what is accepted is by the grammar", head);
  const values = (name: string): string[] => head.split("\r\n").filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^[\t ]*|[\t ]*$/g, ""));
  const lengths = values("content-length");
  const codings = values("transfer-encoding");
  must(lengths.length + codings.length <= 1 && lengths.every((value) => /^[0-9]+$/.test(value)) && codings.every((value) => /^chunked$/i.test(value)), "it is framed in one way", head);
  must(framing !== "chunked" || codings.length === 1, "chunked was said", head);
}

/** The payload and the length of a chunked body that is whole and right, read in the plainest way; undefined for any other. */
function plainChunks(text: string): { payload: string; length: number } | undefined {
  let payload = "";
  for (let at = 0; ; ) {
    const size = /^([0-9A-Fa-f]{1,12})(;[^\r\n]*)?\r\n/.exec(text.slice(at, at + 400));
    if (size === null) return undefined;
    at += size[0].length;
    const bytes = Number.parseInt(size[1] as string, 16);
    if (bytes === 0) {
      const end = /^(?:[^\r\n]+\r\n)*\r\n/.exec(text.slice(at));
      return end === null ? undefined : { payload, length: at + end[0].length };
    }
    payload += text.slice(at, at + bytes);
    if (text.slice(at + bytes, at + bytes + 2) !== "\r\n") return undefined;
    at += bytes + 2;
  }
}

function pieces(random: Random, bytes: Buffer): Buffer[] {
  const cuts = Array.from({ length: 1 + random.below(4) }, () => random.below(bytes.length + 1)).sort((a, b) => a - b);
  return random.chance(0.1) ? [...bytes].map((byte) => Buffer.of(byte)) : [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length));
}

function checkReading(made: Sample, reading: Reading<RequestHead | ResponseHead>): void {
  if (made.right !== undefined) must("head" in reading && reading.head !== undefined && reading.complete && reading.body === made.right.body && reading.rest === made.right.rest, "what is right is read as it was made", reading);
  if (!("head" in reading) || reading.head === undefined) return;
  const text = made.bytes.toString("latin1");
  const after = text.slice(headEnd(made.bytes));
  checkAccepted(text.slice(0, headEnd(made.bytes)), reading.head.framing.kind);
  const { framing } = reading.head;
  must(after.endsWith(reading.rest), "what follows is left as it came", reading);
  if (framing.kind === "length") must(reading.body === after.slice(0, framing.bytes) && reading.rest === after.slice(framing.bytes), "a length ends exactly", reading);
  if (framing.kind === "chunked" && reading.complete) {
    const plain = plainChunks(after);
    must(plain !== undefined && plain.payload === reading.body && after.length - plain.length === reading.rest.length, "chunks are read as in the plainest way", { reading, plain });
  }
}

export type Outcome = "accepted" | "refused" | "incomplete";
/** One run of the fuzzer: everything of it comes from `seed`. Throws when a property does not hold. */
export function run(seed: number): { made: Sample; outcome: Outcome } {
  const random = new Random(seed);
  const made = sample(random);
  try {
    const method = random.chance(0.2) ? "HEAD" : "GET";
    const read = (bytes: readonly Buffer[]): Reading<RequestHead | ResponseHead> => (made.kind === "request" ? readRequest(bytes) : readResponse(bytes, made.right === undefined ? method : "GET"));
    const whole = read([made.bytes]);
    const cut = pieces(random, made.bytes);
    must(JSON.stringify(read(cut)) === JSON.stringify(whole), "cuts make no difference", { whole, cut: read(cut), pieces: cut.map((piece) => piece.length) });
    checkReading(made, whole);
    if (!("head" in whole)) return { made, outcome: "refused" };
    if (whole.head === undefined) return { made, outcome: "incomplete" };
    if ("method" in whole.head) checkRequestOut(whole.head);
    else checkResponseOut(whole.head, made.right === undefined ? method : "GET");
    return { made, outcome: "accepted" };
  } catch (error) {
    throw new Error(`seed ${seed}, ${made.kind} ${JSON.stringify(made.bytes.toString("latin1"))}\n${(error as Error).stack}`, { cause: error });
  }
}
