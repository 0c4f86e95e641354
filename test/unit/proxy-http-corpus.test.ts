import { requestOut, responseOut } from "../../daemon/proxy/heads-out.js";
import type { RequestHead, ResponseHead } from "../../daemon/proxy/http-head.js";
import { checkRequestOut, checkResponseOut } from "../fuzz/properties.js";
import { cutsOf, type HttpCase, httpCases } from "../support/http-corpus.js";
import { type Reading, readRequest, readResponse } from "../support/http-messages.js";

const client = { address: "192.0.2.7", proto: "http" } as const;
/** Field lines that go to the backend, up to those that the proxy adds itself. */
function sentUp(head: RequestHead): string[] {
  const lines = requestOut(head, client).split("\r\n");
  return lines.slice(1, lines.indexOf(`X-Forwarded-For: ${client.address}`));
}
/** Field lines that go to the client, without what this end says of its connection. */
function sentDown(head: ResponseHead): string[] {
  const lines = responseOut(head, { keep: true, clientMinor: 1, dechunk: false }).split("\r\n").slice(1, -2);
  return head.status === 101 ? lines.slice(0, -2) : lines;
}

/** The same message read from other pieces. */
function expectSame<Head extends RequestHead | ResponseHead>(bytes: Buffer, read: (pieces: readonly Buffer[]) => Reading<Head>): Reading<Head> {
  const whole = read([bytes]);
  for (const pieces of cutsOf(bytes)) {
    const again = read(pieces);
    // one comparison of text for each cut: thousands of toEqual would take seconds
    if (JSON.stringify(again) !== JSON.stringify(whole)) expect({ pieces: pieces.map(String), reading: again }).toEqual({ pieces: pieces.map(String), reading: whole });
  }
  return whole;
}
function expectVerdict<Head extends RequestHead | ResponseHead>(each: HttpCase, reading: Reading<Head>, sent: (head: Head) => string[]): void {
  if (each.refused !== undefined) {
    expect(reading).toEqual({ refused: each.refused });
    return;
  }
  const { body = "", rest = "", complete = true, framing, sent: fields, requestMethod: _, ...head } = each.read ?? {};
  expect(reading).toMatchObject({ head: { ...head, ...(framing === undefined ? {} : { framing: { kind: framing } }) }, body, rest, complete });
  if (fields !== undefined && "head" in reading && reading.head !== undefined) expect(sent(reading.head)).toEqual(fields);
}

test.each(httpCases("requests"))("request, $name", (each) => {
  const reading = expectSame(each.bytes, readRequest);
  expectVerdict(each, reading, sentUp);
  if ("head" in reading && reading.head !== undefined) checkRequestOut(reading.head);
});
test.each(httpCases("responses"))("response, $name", (each) => {
  const method = each.read?.requestMethod ?? "GET";
  const reading = expectSame(each.bytes, (pieces) => readResponse(pieces, method));
  expectVerdict(each, reading, sentDown);
  if ("head" in reading && reading.head !== undefined) checkResponseOut(reading.head, method);
});
