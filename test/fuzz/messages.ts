import type { Random } from "./random.js";

/** Messages for the fuzzer: by the grammar of RFC 9112, with parts that are nearly right, then bytes changed at random. */
export interface Sample {
  kind: "request" | "response";
  bytes: Buffer;
  /** What a message that is right by construction must be read as; undefined where something may be wrong in it. */
  right: { body: string; rest: string } | undefined;
}

const eol = "\r\n";
const token = ["X", "x-a", "Accept", "cookie", "X_Y", "!#$%&'*+.^_`|~09"];
const values = ["", "1", "a b", "a,\tb", "\xe4\xff", "\"q;\"", "a=b; c=d", " spaces \t", "Transfer-Encoding: chunked", "x".repeat(70)];
const wild = ["\0", "\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", "\x0b", "\x0c", ":", ",", ";", "\x7f", "\x80", "\xa0", "\xff", "0", "HTTP/1.1", "\r\nContent-Length: 5", "\r\nTransfer-Encoding: chunked", "\r\n ", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"];
const odd = {
  methods: ["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "get", "G(T", "", "A".repeat(33), "PRI"],
  targets: ["/", "*", "/a b", "http://a/", "http://b/", "http://a:80", "http://a@b/", "//a", "", "/\xe4", "/#", "https://a/", "http:", "a:443"],
  versions: ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/1.", ""],
  statuses: ["200 OK", "204 No", "304 Not", "100 Continue", "101 Up", "999", "20 OK", "200", "200  x", "200 \x01"],
  separators: [": ", ":", ":\t", " : ", "", ":: ", ":\r\n "],
  eols: [eol, "\n", "\r", "\r\r\n", "\n\n", ""],
  fields: [
    ["Host", ["a", "a:80", "A.", "", "a,b", "a@b", "[::1]", "b", "a:0"]], ["Content-Length", ["0", "5", "+5", "05", "5,5", "0x5", "-1", "1e1", "", "99999999999999999999"]],
    ["Transfer-Encoding", ["chunked", "Chunked", "identity", "xchunked", "chunked,chunked", "gzip, chunked", "", "\x0bchunked"]], ["Transfer_Encoding", ["chunked"]], ["content_length", ["5"]],
    ["Connection", ["close", "keep-alive", "Upgrade", "Host", "Content-Length, X", "x-a, close", ",,", "\xa0close", "Transfer-Encoding"]], ["Upgrade", ["websocket", "h2c", "", "a b", "TLS/1.0"]], ["Expect", ["100-continue", "cake", ""]],
    ["TE", ["trailers"]], ["Trailer", ["X"]], ["X-Forwarded-For", ["1.2.3.4"]], ["x_forwarded_host", ["b"]], ["Forwarded", ["for=x"]], ["Proxy", ["b"]], ["Keep-Alive", ["1"]],
  ] as const,
  sizes: ["0x5", "+5", " 5", "5 ", "5;", "5;a=b", "5;a=\"", "5;a b", "fffffffffffff", "-1", "", "5\t", "00005", "5_0", "5;a\rb"],
  trailers: ["X: 1", "Content-Length: 5", "Host: b", "X", " X: 1", "X : 1", "x_forwarded_for: 1", "X: \0"],
};

function rightChunks(random: Random, payload: string): string {
  let text = "";
  for (let at = 0; at < payload.length; ) {
    const size = 1 + random.below(payload.length - at);
    text += `${random.chance(0.3) ? "00" : ""}${random.chance(0.5) ? size.toString(16) : size.toString(16).toUpperCase()}${random.pick(["", "", ";a", ";a=b", ";a=\"b;\\\"\""])}${eol}${payload.slice(at, at + size)}${eol}`;
    at += size;
  }
  return `${text}0${eol}${random.pick(["", "", "X: 1\r\n", "X:\r\nY: a b\r\n"])}${eol}`;
}
function oddChunks(random: Random): string {
  let text = "";
  for (let count = random.below(4); count > 0; count -= 1) text += `${random.chance(0.6) ? "5" : random.pick(odd.sizes)}${random.chance(0.9) ? eol : random.pick(odd.eols)}${random.pick(["hello", "hello", "hell", "hello!", "0\r\n\r\n"])}${random.chance(0.9) ? eol : random.pick(odd.eols)}`;
  return `${text}0${random.chance(0.9) ? eol : random.pick(odd.eols)}${random.chance(0.4) ? random.pick(odd.trailers) + eol : ""}${random.chance(0.9) ? eol : random.pick(odd.eols)}`;
}
const payloads = ["", "a", "hello", "0\r\n\r\n", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\0\xff".repeat(40), "x".repeat(300)];
const rests = ["", "", "GET /next HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "junk\0"];

function rightMessage(random: Random, kind: Sample["kind"]): Sample {
  const payload = random.pick(payloads);
  const rest = random.pick(rests);
  const chunked = random.chance(0.5);
  const lines = Array.from({ length: random.below(6) }, () => `${random.pick(token)}:${random.pick(["", " ", "\t "])}${random.pick(values)}`);
  if (kind === "request") lines.push(`${random.pick(["Host", "host", "HOST"])}: ${random.pick(["a", "a.example:80", "[::1]"])}`);
  lines.push(chunked ? "Transfer-Encoding: chunked" : `Content-Length: ${payload.length}`);
  lines.sort(() => random.next() - 0.5);
  const first = kind === "request" ? `${random.pick(["GET", "POST", "PATCH"])} ${random.pick(["/", "/a?b=c", "//x/../y", "/\"<>\\^`{|}"])} HTTP/1.1` : random.pick(["HTTP/1.1 200 OK", "HTTP/1.1 500", "HTTP/1.1 404 Not\tF\xfcnd"]);
  return { kind, bytes: Buffer.from([first, ...lines, "", ""].join(eol) + (chunked ? rightChunks(random, payload) : payload) + rest, "latin1"), right: { body: payload, rest } };
}

function oddMessage(random: Random, kind: Sample["kind"]): Sample {
  const mostly = (usual: string, others: readonly string[]): string => (random.chance(0.93) ? usual : random.pick(others));
  let text = kind === "request" ? `${mostly("POST", odd.methods)}${mostly(" ", ["  ", "\t", ""])}${mostly("/", odd.targets)} ${mostly("HTTP/1.1", odd.versions)}` : `${mostly("HTTP/1.1", odd.versions)} ${random.chance(0.7) ? "200 OK" : random.pick(odd.statuses)}`;
  text += mostly(eol, odd.eols);
  if (kind === "request" && random.chance(0.9)) text += `Host: a${eol}`;
  for (let count = random.below(6); count > 0; count -= 1) {
    const [name, choices] = random.chance(0.7) ? random.pick(odd.fields) : [random.pick(token), values];
    text += `${name}${mostly(": ", odd.separators)}${random.pick(choices)}${mostly(eol, odd.eols)}`;
  }
  text += mostly(eol, odd.eols) + (random.chance(0.6) ? oddChunks(random) : random.pick(payloads)) + random.pick(rests);
  return { kind, bytes: Buffer.from(text, "latin1"), right: undefined };
}

/** Changes some bytes: puts in, takes out, writes over, repeats a part, cuts the end off. */
function changed(random: Random, text: string): string {
  for (let count = 1 + random.below(3); count > 0; count -= 1) {
    const at = random.below(text.length + 1);
    const to = Math.min(text.length, at + 1 + random.below(8));
    switch (random.below(5)) {
      case 0: text = text.slice(0, at) + random.pick(wild) + text.slice(at); break;
      case 1: text = text.slice(0, at) + text.slice(to); break;
      case 2: text = text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1); break;
      case 3: text = text.slice(0, to) + text.slice(at); break;
      default: if (random.chance(0.2)) text = text.slice(0, at);
    }
  }
  return text;
}

export function sample(random: Random): Sample {
  const kind = random.chance(0.7) ? "request" : "response";
  const made = random.chance(0.4) ? rightMessage(random, kind) : oddMessage(random, kind);
  if (random.chance(0.4)) return made;
  return { kind, bytes: Buffer.from(changed(random, made.bytes.toString("latin1")), "latin1"), right: undefined };
}
