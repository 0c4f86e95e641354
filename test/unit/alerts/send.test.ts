import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import { messageOf as messageOfAlert, testMessage } from "../../../daemon/alerts/alert-text.js";
import { httpSend } from "../../../daemon/alerts/http-send.js";
import { mailSend } from "../../../daemon/alerts/mail-send.js";
import { senders } from "../../../daemon/alerts/send.js";
import type { MailSpec } from "../../../daemon/lib/alerts-spec.js";
import type { AlertRecord } from "../../../daemon/lib/records.js";
import { testCa } from "../../support/cluster-pki.js";

const { signal } = new AbortController();
const record: AlertRecord = { version: 1, id: "node-down.n2.1", kind: "node-down", group: "node-down/n2", severity: "warning", sinceMs: 1_000, firedAtMs: 2_000, resolvedAtMs: 0, title: "n2 died: ümläut", detail: "Now on n1: a.", resolution: "n2 is back.", command: "hc status", covers: [], all: false, flaps: 0, told: {} };

describe("webhook", () => {
  let answer = 200;
  let hang = false;
  const seen: { request: IncomingMessage; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += String(part)));
    request.on("end", () => {
      seen.push({ request, body });
      if (!hang) response.writeHead(answer, { location: "http://127.0.0.1:1/" }).end("x".repeat(1000));
    });
  });
  let url: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/T0KEN?a=b`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  beforeEach(() => {
    seen.length = 0;
    answer = 200;
    hang = false;
  });
  const receiver = () => ({ name: "ops/chat", where: "x", ca: "", kind: "webhook" as const, webhook: { name: "chat", url, headers: { authorization: "Bearer T" } } });

  test("gets the message as JSON, with its headers and a key that is the same for the same message", async () => {
    await senders.tell(receiver(), messageOfAlert("eu", record, "firing"), signal);
    expect(seen).toHaveLength(1);
    const { request, body } = seen[0]!;
    expect([request.method, request.url, request.headers["content-type"], request.headers["authorization"], request.headers["idempotency-key"]]).toEqual(["POST", "/hook/T0KEN?a=b", "application/json", "Bearer T", "node-down.n2.1.firing"]);
    expect(JSON.parse(body)).toEqual({
      version: 1, cluster: "eu", id: "node-down.n2.1", state: "firing", kind: "node-down", severity: "warning", title: "n2 died: ümläut", command: "hc status", since: "1970-01-01T00:00:01.000Z", firedAt: "1970-01-01T00:00:02.000Z", resolvedAt: "",
      text: "[eu] n2 died: ümläut\n\nNow on n1: a.\n\nNext: hc status",
    });
    expect(messageOfAlert("eu", { ...record, resolvedAtMs: 3_000 }, "resolved")).toMatchObject({ title: "resolved: n2 died: ümläut", resolvedAt: "1970-01-01T00:00:03.000Z", text: "[eu] resolved: n2 died: ümläut\n\nn2 is back.\n\nNow on n1: a." });
  });
  test.each([302, 404, 500])("status %d is no delivery, and no redirection is followed", async (status) => {
    answer = status;
    await expect(senders.tell(receiver(), testMessage("eu", "n1", 1), signal)).rejects.toMatchObject({ code: "NOT_DELIVERED", message: `it answered with status ${status}` });
    expect(seen).toHaveLength(1);
  });
  test("a receiver that hangs is given up when the daemon stops; nobody there is told without the address", async () => {
    hang = true;
    const stopping = new AbortController();
    const sending = senders.tell(receiver(), testMessage("eu", "n1", 1), stopping.signal);
    sending.catch(() => undefined);
    while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
    stopping.abort();
    await expect(sending).rejects.toMatchObject({ code: "NOT_DELIVERED" });
    await expect(httpSend({ method: "GET", url: "http://127.0.0.1:1/T0KEN", headers: {}, body: "", ca: "", signal })).rejects.toMatchObject({ code: "NOT_DELIVERED", message: expect.not.stringContaining("T0KEN") });
  });
});

describe("mail", () => {
  let mails: { from: string; to: string[]; user: string; text: string; secure: boolean }[] = [];
  let port: number;
  let ca: string;
  let server: SMTPServer;
  beforeAll(async () => {
    const authority = await testCa("mail CA");
    ca = authority.ca;
    const { cert, key } = await authority.issue("localhost", ["127.0.0.1"]);
    server = new SMTPServer({
      cert, key,
      onAuth: (auth, _session, done) => (auth.username === "alerts" && auth.password === "T0KEN" ? done(null, { user: auth.username }) : done(new Error("wrong"))),
      onData: (stream, session, done) => {
        let text = "";
        stream.on("data", (part) => (text += String(part)));
        stream.on("end", () => {
          mails.push({ from: (session.envelope.mailFrom as { address: string }).address, to: session.envelope.rcptTo.map(({ address }) => address), user: String(session.user), text, secure: session.secure });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.server.address() as AddressInfo).port;
  });
  afterAll(() => new Promise<void>((resolve) => server.close(() => resolve())));
  beforeEach(() => (mails = []));
  const spec = (more: Partial<MailSpec> = {}): MailSpec => ({ host: "127.0.0.1", port, security: "starttls", user: "alerts", password: "T0KEN", from: "HybridCluster <hc@host.example>", to: ["one@host.example", "two@host.example"], ...more });

  test("goes by STARTTLS, once; its end is an answer to its beginning", async () => {
    await mailSend(spec(), messageOfAlert("eu", record, "firing"), ca);
    await mailSend(spec(), messageOfAlert("eu", { ...record, resolvedAtMs: 3_000 }, "resolved"), ca);
    expect(mails.map(({ from, to, user, secure }) => [from, to, user, secure])).toEqual(Array.from({ length: 2 }, () => ["hc@host.example", ["one@host.example", "two@host.example"], "alerts", true]));
    expect(mails[0]?.text).toMatch(/^Subject: =\?UTF-8\?Q\?=5Beu=5D_n2_died/m);
    expect(mails[0]?.text).toMatch(/^Message-ID: <node-down\.n2\.1\.firing@eu\.hybridcluster\.invalid>\r$/m);
    expect(mails[0]?.text).toMatch(/^Auto-Submitted: auto-generated\r$/m);
    expect(mails[1]?.text).toMatch(/^In-Reply-To: <node-down\.n2\.1\.firing@eu\.hybridcluster\.invalid>\r$/m);
  });
  test("is not sent to a server that nobody vouches for, nor with a wrong password", async () => {
    await expect(mailSend(spec(), testMessage("eu", "n1", 1), "")).rejects.toMatchObject({ code: "NOT_DELIVERED" });
    await expect(mailSend(spec({ password: "other" }), testMessage("eu", "n1", 1), ca)).rejects.toMatchObject({ code: "NOT_DELIVERED", message: expect.not.stringContaining("other") });
    expect(mails).toEqual([]);
  });
  test("is not sent in clear to a server that offers no encryption", async () => {
    const plain = new SMTPServer({ disabledCommands: ["STARTTLS"], authOptional: true, onData: (stream, _session, done) => void stream.resume().on("end", () => done()) });
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const at = (plain.server.address() as AddressInfo).port;
    try {
      await expect(mailSend(spec({ port: at }), testMessage("eu", "n1", 1), ca)).rejects.toMatchObject({ code: "NOT_DELIVERED" });
      await mailSend(spec({ port: at, security: "none", user: "", password: "" }), testMessage("eu", "n1", 1), "");
    } finally {
      await new Promise<void>((resolve) => plain.close(() => resolve()));
    }
  });
});
