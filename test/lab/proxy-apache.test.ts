import { EchoApache, sentinelStatus } from "../support/apache.js";
import { answersTo, type Forwarded, forwardedRequests } from "../support/http-backend.js";
import { readResponse } from "../support/http-messages.js";

// Apache as a second reader of what the proxy writes; the same with node:http: test/unit/proxy-differential.test.ts.
let apache: EchoApache;
beforeAll(async () => {
  apache = await EchoApache.start();
});
afterAll(() => apache.stop());

interface Answer { status: number; method?: string; target?: string; host?: string; body: string }
/** All answers in the bytes of a connection. */
function answersIn(text: string, method: string): Answer[] {
  const answers: Answer[] = [];
  for (let rest = text; rest !== ""; ) {
    const reading = readResponse([Buffer.from(rest, "latin1")], answers.length === 0 ? method : "GET");
    if (!("head" in reading) || reading.head === undefined) throw new Error(`no answer: ${rest}`);
    rest = reading.rest;
    const { status, fields } = reading.head;
    if (status === 100) continue;
    const said = (name: string): string | undefined => fields.find((field) => field.lower === name)?.value;
    answers.push({ status, ...(status === 200 ? { method: said("x-method") ?? "", target: said("x-target") ?? "", host: said("x-host") ?? "" } : {}), body: reading.body });
  }
  return answers;
}
/** What Apache answers to one request and the sentinel behind it when it reads them as the proxy does. */
function wantedOf({ seen, upgrade }: Forwarded): Answer[] {
  const sentinel = { status: sentinelStatus, body: "" };
  // OPTIONS * Apache answers itself, an answer to HEAD has no body
  const first = seen.target === "*" ? { status: 200, method: "", target: "", host: "", body: "" } : { status: 200, ...seen, body: seen.method === "HEAD" ? "" : seen.body };
  return upgrade ? [first] : [first, sentinel];
}

const requests = forwardedRequests(150);
test("Apache reads what the proxy accepts and writes anew as the same one request, or refuses it and closes", async () => {
  const differ: unknown[] = [];
  const refused: string[] = [];
  let logged = 0;
  for (const request of requests) {
    const answers = answersIn(await answersTo(apache.port, request), request.seen.method);
    logged += answers.length;
    if (answers.length === 1 && (answers[0]?.status ?? 0) >= 400) refused.push(`${request.name}: ${answers[0]?.status}`);
    else if (JSON.stringify(answers) !== JSON.stringify(wantedOf(request))) differ.push({ name: request.name, bytes: request.bytes.toString("latin1").slice(0, 1_000), answers });
  }
  expect(differ).toEqual([]);
  // one answer, and the connection closed: nothing has run. Escapes that are none, no Host, its own limits (100 fields, lines of 8190 bytes)
  expect(refused).toEqual([
    "ordinary requests: unusual characters in a target: 400", "ordinary requests: HTTP/1.0: 400", "field lines: 128 fields: 400", "field lines: a head of 32768 bytes: 400", "hosts: empty: 400", "hosts: blank: 400",
  ]);
  expect(apache.log()).toHaveLength(logged);
});
