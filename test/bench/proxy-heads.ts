import { parseArgs } from "node:util";
import { requestOut, responseOut } from "../../daemon/proxy/heads-out.js";
import { headEnd, parseRequest, parseResponse } from "../../daemon/proxy/http-head.js";

/**
 * What one head costs (`npm run bench proxy-heads -- --rounds 15 --heads 20000`): a line of JSON each, CPU time in ns per head, median and least of the rounds.
 * Each figure has the end of the head searched, the head parsed, written anew and turned into bytes: all that a proxied request pays for its head.
 */
const { values } = parseArgs({ options: { rounds: { type: "string", default: "15" }, heads: { type: "string", default: "20000" } } });
const lines = (...text: string[]): Buffer => Buffer.from(`${text.join("\r\n")}\r\n\r\n`, "latin1");

const browser = lines(
  "GET /wiki/doku.php?id=start&do=show HTTP/1.1", "Host: shop.example", "Connection: keep-alive", "sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"", "sec-ch-ua-mobile: ?0",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Referer: https://shop.example/",
  "Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-GB,en;q=0.9,de;q=0.8", "Cookie: session=6a2c41f09d1b4c0e; theme=dark",
);
const short = lines("GET /1k HTTP/1.1", "Host: shop.example");
const post = lines("POST /api/items HTTP/1.1", "Host: shop.example:8080", "User-Agent: curl/8.5.0", "Accept: */*", "Content-Type: application/json", "Content-Length: 512", "Authorization: Bearer 4ad17f", "X-Request-Id: 1f2e3d4c");
const answer = lines(
  "HTTP/1.1 200 OK", "Date: Thu, 26 Nov 2026 19:00:00 GMT", "Server: Apache", "Last-Modified: Thu, 26 Nov 2026 18:00:00 GMT", "ETag: \"400-62a1\"", "Accept-Ranges: bytes", "Content-Length: 1024",
  "Vary: Accept-Encoding", "Keep-Alive: timeout=5, max=100", "Connection: Keep-Alive", "Content-Type: text/html; charset=utf-8",
);
const client = { address: "192.0.2.7", proto: "https" } as const;
const request = (bytes: Buffer): number => Buffer.from(requestOut(parseRequest(bytes.subarray(0, headEnd(bytes))), client), "latin1").length;
const response = (bytes: Buffer): number => Buffer.from(responseOut(parseResponse(bytes.subarray(0, headEnd(bytes)), "GET"), { keep: true, clientMinor: 1, dechunk: false }), "latin1").length;

const cases: { name: string; bytes: Buffer; work: (bytes: Buffer) => number }[] = [
  { name: "request of a browser, 12 fields", bytes: browser, work: request },
  { name: "request with Host only", bytes: short, work: request },
  { name: "POST with a length, 7 fields", bytes: post, work: request },
  { name: "response of Apache, 10 fields", bytes: answer, work: response },
];
const heads = Number(values.heads);
for (const { name, bytes, work } of cases) {
  const times: number[] = [];
  let sum = 0;
  for (let round = 0; round < Number(values.rounds) + 2; round += 1) {
    const began = process.cpuUsage(); // CPU time: what else the machine does counts for little
    for (let at = 0; at < heads; at += 1) sum += work(bytes);
    const { user, system } = process.cpuUsage(began);
    if (round >= 2) times.push(((user + system) * 1_000) / heads); // the first rounds warm the compiler up
  }
  if (sum === 0) throw new Error("nothing was written");
  times.sort((a, b) => a - b);
  process.stdout.write(`${JSON.stringify({ name, bytes: bytes.length, rounds: times.length, medianNs: Math.round(times[times.length >> 1] ?? 0), leastNs: Math.round(times[0] ?? 0) })}\n`);
}
