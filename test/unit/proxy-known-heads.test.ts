import { requestOut, responseOut } from "../../daemon/proxy/heads-out.js";
import { type HeadError, parseRequest, parseResponse, type RequestHead } from "../../daemon/proxy/http-head.js";
import { KnownHeads, requestHeads, responseHeads } from "../../daemon/proxy/known-heads.js";

const head = (text: string): Buffer => Buffer.from(text.replace(/\n/g, "\r\n") + "\r\n\r\n", "latin1");
const client = { address: "192.0.2.7", proto: "http" } as const;
const usual = { keep: true, clientMinor: 1, dechunk: false, fields: "" } as const;

test("a head that came before is not parsed anew, whatever stands behind it", () => {
  let parsed = 0;
  const heads = new KnownHeads<RequestHead, undefined>((bytes) => {
    parsed += 1;
    return parseRequest(bytes);
  }, () => "", () => true);
  const one = head("GET /a HTTP/1.1\nHost: a");
  expect(heads.find(one)).toBeUndefined();
  const twice = [heads.of(one), heads.of(Buffer.from(one))];
  expect(parsed).toBe(2); // what comes once is not kept
  expect(heads.find(Buffer.from(one))).toBe(twice[1]);
  expect(heads.of(Buffer.concat([one, Buffer.from("body")]), one.length)).toBe(twice[1]);
  expect(parsed).toBe(2);
  expect(twice[1]).toEqual(parseRequest(one));
  // a piece of it, and it with more, are other bytes
  for (const other of [one.subarray(0, -1), Buffer.concat([one, Buffer.from("b")]), Buffer.concat([one, one])]) expect(heads.find(other)).toBeUndefined();
});
test("the bytes are the caller's again afterwards", () => {
  const bytes = head("GET /lent HTTP/1.1\nHost: a");
  const same = Buffer.from(bytes);
  requestHeads.of(bytes);
  requestHeads.of(bytes);
  bytes.fill(0);
  expect(requestHeads.find(same)?.target).toBe("/lent");
  expect(requestHeads.find(bytes)).toBeUndefined();
});
test("heads that differ in any one byte are told apart", () => {
  const bytes = head(`GET / HTTP/1.1\nHost: a\nX: ${"b".repeat(60)}\nCookie: ${"c".repeat(60)}`);
  requestHeads.of(bytes);
  requestHeads.of(bytes);
  const seen = parseRequest(bytes);
  for (let at = 0; at < bytes.length; at += 1) {
    const other = Buffer.from(bytes);
    other[at] = 0x64;
    let expected: unknown;
    try {
      expected = parseRequest(other);
    } catch (error) {
      expected = (error as HeadError).message;
    }
    for (let turn = 0; turn < 3; turn += 1) {
      let got: unknown;
      try {
        got = requestHeads.of(other);
      } catch (error) {
        got = (error as HeadError).message;
      }
      expect(got).toEqual(expected);
      expect(requestHeads.of(bytes)).toEqual(seen);
    }
  }
});
test("a refusal is no less one the third time", () => {
  const smuggled = head("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked");
  for (let turn = 0; turn < 3; turn += 1) expect(() => requestHeads.of(smuggled)).toThrow("transfer-encoding");
});
test("what is written is another client's own, and a copy's own", () => {
  const bytes = head("GET / HTTP/1.1\nHost: b\nX-Forwarded-For: 192.0.2.66\nConnection: x-a\nX-A: 1");
  const known = [1, 2, 3].map(() => requestHeads.of(bytes)).at(-1) as RequestHead;
  for (const to of [client, { address: "2001:db8::1", proto: "https" } as const, client, client]) expect(requestHeads.out(known, to)).toBe(requestOut(known, to));
  const copy: RequestHead = { ...known, framing: { kind: "length", bytes: 7 } };
  expect(requestHeads.out(copy, client)).toBe(requestOut(copy, client));
  expect(requestHeads.out(copy, client)).toContain("Content-Length: 7\r\n");
});
test("an answer is written as the connection wants it", () => {
  const bytes = head("HTTP/1.1 200 OK\nContent-Length: 3\nStrict-Transport-Security: max-age=1\nConnection: keep-alive");
  const known = [1, 2, 3].map(() => responseHeads.of(bytes)).at(-1);
  if (known === undefined) throw new Error("none");
  expect(known).toEqual(parseResponse(bytes, "GET"));
  for (const options of [usual, { ...usual, keep: false }, { ...usual, clientMinor: 0 as const }, { ...usual, fields: "Strict-Transport-Security: max-age=9\r\n" }, usual, usual]) expect(responseHeads.out(known, options)).toBe(responseOut(known, options));
});
