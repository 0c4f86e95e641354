import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SMTPServer } from "smtp-server";
import type { AlertMessage } from "../../daemon/alerts/alert-text.js";
import { testCa } from "./cluster-pki.js";

export interface Mail { to: string[]; subject: string; text: string; secure: boolean; user: string }
/** A webhook, a mail server (STARTTLS, its own CA, a password) and a dead man's switch on this machine, for the nodes of a lab. */
export class Receivers {
  public readonly posts: AlertMessage[] = [];
  public readonly mails: Mail[] = [];
  public beats = 0;
  /** What was asked and not expected. */
  public readonly odd: string[] = [];
  private constructor(public readonly address: string, public readonly token: string, public readonly ca: string, private readonly web: ReturnType<typeof createServer>, private readonly smtp: SMTPServer) {}

  public static async start(address: string, token: string): Promise<Receivers> {
    const authority = await testCa("receivers' CA");
    const { cert, key } = await authority.issue("mail", [address]);
    const web = createServer();
    const smtp = new SMTPServer({ cert, key, onAuth: (auth, _session, done) => (auth.password === token ? done(null, { user: auth.username }) : done(new Error("wrong password"))) });
    const made = new Receivers(address, token, authority.ca, web, smtp);
    web.on("request", (request, response) => {
      let body = "";
      request.on("data", (part) => (body += String(part))).on("end", () => {
        if (request.method === "POST" && request.url === `/hook/${token}` && request.headers["authorization"] === `Bearer ${token}`) made.posts.push(JSON.parse(body) as AlertMessage);
        else if (request.method === "GET" && request.url === `/beat/${token}`) made.beats += 1;
        else made.odd.push(`${request.method} ${request.url}`);
        response.writeHead(204).end();
      });
    });
    smtp.on("error", (error: Error) => made.odd.push(error.message));
    Object.assign(smtp, {
      onData: (stream: NodeJS.ReadableStream, session: { envelope: { rcptTo: { address: string }[] }; secure: boolean; user: unknown }, done: () => void) => {
        let text = "";
        stream.on("data", (part) => (text += String(part))).on("end", () => {
          made.mails.push({ to: session.envelope.rcptTo.map(({ address: to }) => to), subject: /^Subject: (.*(?:\r\n[ \t].*)*)/m.exec(text)?.[1]?.replace(/\r\n[ \t]+/g, " ") ?? "", text, secure: session.secure, user: String(session.user) });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => web.listen(0, "0.0.0.0", resolve));
    await new Promise<void>((resolve) => smtp.listen(0, "0.0.0.0", resolve));
    return made;
  }
  /** Arguments of `Alerts`. */
  public wish(thresholds: object): object {
    const { port } = this.web.address() as AddressInfo;
    return {
      webhooks: [{ url: `http://${this.address}:${port}/hook/${this.token}`, headers: { authorization: `Bearer ${this.token}` } }],
      mail: { host: this.address, port: (this.smtp.server.address() as AddressInfo).port, user: "alerts", password: this.token, from: "hc@lab.example", to: ["admin@lab.example"] },
      heartbeat: { url: `http://${this.address}:${port}/beat/${this.token}`, everyS: 5 },
      ca: this.ca, thresholds,
    };
  }
  public async stop(): Promise<void> {
    this.web.closeAllConnections();
    await new Promise<void>((resolve) => this.web.close(() => resolve()));
    await new Promise<void>((resolve) => this.smtp.close(() => resolve()));
  }
}
