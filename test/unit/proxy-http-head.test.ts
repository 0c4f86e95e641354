import { requestOut } from "../../daemon/proxy/heads-out.js";
import { type HeadError, headEnd, hostName, listOf, maxFields, maxHeadBytes, parseRequest, parseResponse, writtenHead } from "../../daemon/proxy/http-head.js";

// What is refused, and how each odd case is read: proxy-http-corpus.test.ts with test/fixtures/http. Here is what the cases do not tell.
const head = (text: string): Buffer => Buffer.from(text.replace(/\n/g, "\r\n") + "\r\n\r\n", "latin1");
const status = (act: () => unknown): number => {
  try {
    act();
  } catch (error) {
    return (error as HeadError).status;
  }
  return 0;
};

describe("the end of a head", () => {
  const whole = head("GET / HTTP/1.1\nHost: a");
  test("is found behind what was searched already", () => {
    for (let cut = 0; cut < whole.length; cut += 1) {
      expect(headEnd(whole.subarray(0, cut))).toBe(-1);
      expect(headEnd(Buffer.concat([whole, Buffer.from("body")]), cut)).toBe(whole.length);
    }
  });
  test("a bare LF is refused before the head is complete, and when it is", () => {
    const bare = Buffer.from("GET / HTTP/1.1\nHost: a\r\n\r\n");
    expect(status(() => headEnd(bare.subarray(0, 15)))).toBe(400);
    expect(status(() => headEnd(bare.subarray(0, 15), 14))).toBe(400);
    expect(status(() => parseRequest(bare.subarray(0, headEnd(bare))))).toBe(400);
  });
  test("the limit holds in one read and byte by byte", () => {
    const big = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(maxHeadBytes)}\r\n\r\n`);
    expect(status(() => headEnd(big))).toBe(431);
    expect(status(() => headEnd(big.subarray(0, maxHeadBytes)))).toBe(431);
    expect(headEnd(big.subarray(0, maxHeadBytes - 1))).toBe(-1);
  });
  test("what headEnd has not seen is no head", () => {
    for (const bytes of [Buffer.alloc(0), whole.subarray(0, -1), Buffer.from("GET / HTTP/1.1\r\n"), Buffer.concat([whole, whole])]) {
      expect(status(() => parseRequest(bytes))).toBe(400);
      expect(status(() => parseResponse(bytes, "GET"))).toBe(502);
    }
  });
});

test("the greatest head that is accepted has room for what the proxy adds on its way to another node", () => {
  const host = "h".repeat(255);
  const lines = `GET / HTTP/1.0\r\nHost: ${host}:65535\r\n${"X: \r\n".repeat(maxFields - 2)}Y: `;
  const bytes = Buffer.from(`${lines}${"y".repeat(maxHeadBytes - lines.length - 4)}\r\n\r\n`);
  const out = Buffer.from(requestOut(parseRequest(bytes.subarray(0, headEnd(bytes))), { address: "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", proto: "https" }));
  expect(out.length).toBeGreaterThan(maxHeadBytes);
  expect(headEnd(out, 0, writtenHead.mostBytes)).toBe(out.length);
  expect(parseRequest(out, writtenHead.mostFields).host).toBe(host);
  expect(status(() => parseRequest(out))).toBe(431);
});
test("an ordinary request", () => {
  const seen = parseRequest(head("POST /a?b=%20c HTTP/1.1\nHost: Wiki.Localhost:8080\nContent-Length: 12\nX-A:  b "));
  expect(seen).toEqual({
    method: "POST", target: "/a?b=%20c", minor: 1, host: "wiki.localhost", framing: { kind: "length", bytes: 12 }, keepAlive: true, upgrade: false, expectContinue: false,
    fields: [{ name: "Host", lower: "host", value: "Wiki.Localhost:8080" }, { name: "Content-Length", lower: "content-length", value: "12" }, { name: "X-A", lower: "x-a", value: "b" }],
  });
});
test("an ordinary response", () => {
  expect(parseResponse(head("HTTP/1.1 404 Not Found\ncontent-length: 5\nX-A: b"), "GET")).toEqual({
    status: 404, reason: "Not Found", minor: 1, framing: { kind: "length", bytes: 5 }, keepAlive: true,
    fields: [{ name: "content-length", lower: "content-length", value: "5" }, { name: "X-A", lower: "x-a", value: "b" }],
  });
});
test("lists over several fields, in small letters, trimmed of space and tab alone", () => {
  const { fields } = parseRequest(head("GET / HTTP/1.1\nHost: a\nX: A , ,b\t\nY: c\nx: \xa0D"));
  expect(listOf(fields, "x")).toEqual(["a", "b", "\xa0d"]);
});
test("host names", () => {
  expect(["A.b:1", "[::1]:1", "a."].map(hostName)).toEqual(["a.b", "::1", "a"]);
  for (const value of ["", "a:", "a b", "[::1", "a..b"]) expect(status(() => hostName(value))).toBe(400);
});
test("the work for a head grows with its bytes: 30,000 spaces in a value took 1.4 s when a pattern looked for the last", () => {
  const spaces = head(`GET / HTTP/1.1\nHost: a\nX: b${" ".repeat(30_000)}c`);
  const letters = head(`GET / HTTP/1.1\nHost: a\nX: b${"b".repeat(30_000)}c`);
  const costMs = (bytes: Buffer): number => {
    const began = process.cpuUsage();
    for (let turn = 0; turn < 5; turn += 1) parseRequest(bytes);
    return process.cpuUsage(began).user / 1000;
  };
  costMs(letters);
  expect(costMs(spaces)).toBeLessThan(50 * costMs(letters) + 500);
});
