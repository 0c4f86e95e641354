import { headEnd, type HeadError, maxHeadBytes, parseRequest, parseResponse } from "../../daemon/proxy/http-head.js";

const head = (text: string): Buffer => Buffer.from(text.replace(/\n/g, "\r\n") + "\r\n\r\n", "latin1");
const status = (act: () => unknown): number => {
  try {
    act();
  } catch (error) {
    return (error as HeadError).status;
  }
  return 0;
};

describe("request heads", () => {
  test("an ordinary request", () => {
    const seen = parseRequest(head("POST /a?b=%20c HTTP/1.1\nHost: Wiki.Localhost:8080\nContent-Length: 12\nX-A:  b "));
    expect(seen).toMatchObject({ method: "POST", target: "/a?b=%20c", host: "wiki.localhost", framing: { kind: "length", bytes: 12 }, keepAlive: true, upgrade: false });
    expect(seen.fields[2]).toEqual({ name: "X-A", lower: "x-a", value: "b" });
  });
  test.each([
    ["[fd77:1::b]:80", "fd77:1::b"],
    ["10.77.0.11", "10.77.0.11"],
    ["a.example.", "a.example"],
  ])("host %s", (value, name) => expect(parseRequest(head(`GET / HTTP/1.1\nHost: ${value}`)).host).toBe(name));
  test("chunked, upgrade, expect, HTTP/1.0, absolute form", () => {
    expect(parseRequest(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked")).framing.kind).toBe("chunked");
    expect(parseRequest(head("GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket")).upgrade).toBe(true);
    expect(parseRequest(head("GET / HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: h2c")).upgrade).toBe(false);
    expect(parseRequest(head("PUT / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 1")).expectContinue).toBe(true);
    expect(parseRequest(head("GET / HTTP/1.0")).keepAlive).toBe(false);
    expect(parseRequest(head("GET http://a.example:80?x HTTP/1.1\nHost: a.example")).target).toBe("/?x");
  });
  test.each([
    ["folded field", "GET / HTTP/1.1\nHost: a\nX: 1\n 2", 400],
    ["space before the colon", "GET / HTTP/1.1\nHost : a", 400],
    ["odd field name", "GET / HTTP/1.1\nHost: a\nX(: 1", 400],
    ["control byte", "GET / HTTP/1.1\nHost: a\nX: \x01", 400],
    ["NUL", "GET / HTTP/1.1\nHost: a\nX: \0", 400],
    ["no Host", "GET / HTTP/1.1\nX: 1", 400],
    ["two Hosts", "GET / HTTP/1.1\nHost: a\nHost: a", 400],
    ["list of Hosts", "GET / HTTP/1.1\nHost: a, b", 400],
    ["signed length", "POST / HTTP/1.1\nHost: a\nContent-Length: +1", 400],
    ["hexadecimal length", "POST / HTTP/1.1\nHost: a\nContent-Length: 0x1", 400],
    ["list of lengths", "POST / HTTP/1.1\nHost: a\nContent-Length: 1, 1", 400],
    ["two lengths", "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nContent-Length: 1", 400],
    ["empty length", "POST / HTTP/1.1\nHost: a\nContent-Length:", 400],
    ["length and coding", "POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked", 400],
    ["another coding", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: gzip, chunked", 501],
    ["coding in HTTP/1.0", "POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked", 400],
    ["CONNECT", "CONNECT a:1 HTTP/1.1\nHost: a", 405],
    ["HTTP/0.9", "GET /", 400],
    ["HTTP/2", "PRI * HTTP/2.0\nHost: a", 505],
    ["absolute form of another host", "GET http://b/ HTTP/1.1\nHost: a", 400],
    ["unknown expectation", "GET / HTTP/1.1\nHost: a\nExpect: cake", 417],
    ["spaces in the target", "GET /a b HTTP/1.1\nHost: a", 400],
  ])("refuses %s", (_what, text, code) => expect(status(() => parseRequest(head(text)))).toBe(code));

  test("bare LF and bare CR", () => {
    expect(status(() => headEnd(Buffer.from("GET / HTTP/1.1\nHost: a\r\n\r\n")))).toBe(400);
    expect(status(() => parseRequest(Buffer.from("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n")))).toBe(400);
  });
  test("the limit holds in one read and byte by byte", () => {
    const big = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(maxHeadBytes)}\r\n\r\n`);
    expect(status(() => headEnd(big))).toBe(431);
    expect(status(() => headEnd(big.subarray(0, maxHeadBytes + 1)))).toBe(431);
    expect(headEnd(big.subarray(0, 100))).toBe(-1);
  });
});

describe("response heads", () => {
  test.each([
    ["HTTP/1.1 200 OK\nContent-Length: 5", "GET", { kind: "length", bytes: 5 }],
    ["HTTP/1.1 200 OK\nContent-Length: 5", "HEAD", { kind: "none" }],
    ["HTTP/1.1 204 No Content", "GET", { kind: "none" }],
    ["HTTP/1.1 304 Not Modified\nContent-Length: 5", "GET", { kind: "none" }],
    ["HTTP/1.1 200 OK\nTransfer-Encoding: chunked", "GET", { kind: "chunked" }],
    ["HTTP/1.1 200 OK", "GET", { kind: "until-close" }],
  ])("%s to %s", (text, method, framing) => expect(parseResponse(head(text), method).framing).toEqual(framing));
  test("both lengths are refused", () => expect(status(() => parseResponse(head("HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked"), "GET"))).toBe(502));
});
