import { request } from "node:http";
import { stringify } from "node:querystring";

interface Answer { status: number; body: string }
/** Fields of DokuWiki's edit form that must come back as they were given. */
const formFields = ["sectok", "changecheck"];

/** A person with a browser at a DokuWiki, through whichever node they are sent to: keeps cookies, knows the forms. */
export class WikiUser {
  private readonly cookies = new Map<string, string>();
  public constructor(private readonly host: string, private readonly password: string) {}

  public ask(address: string, path: string, form?: Record<string, string>): Promise<Answer> {
    const body = form === undefined ? undefined : stringify(form);
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { host: this.host, ...(cookie === "" ? {} : { cookie }), ...(body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded", "content-length": Buffer.byteLength(body) }) };
    return new Promise((resolve, reject) => {
      const asked = request({ host: address, port: 80, method: body === undefined ? "GET" : "POST", path, headers, agent: false, timeout: 30_000 }, (response) => {
        for (const line of response.headers["set-cookie"] ?? []) {
          const [pair = ""] = line.split(";");
          const at = pair.indexOf("=");
          this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
        }
        let text = "";
        response.setEncoding("utf8").on("data", (part: string) => (text += part)).on("end", () => resolve({ status: response.statusCode ?? 0, body: text })).on("error", reject);
      });
      asked.on("timeout", () => asked.destroy(new Error(`${address} ${path}: no answer`))).on("error", reject).end(body);
    });
  }
  public async logIn(address: string): Promise<void> {
    await this.ask(address, "/doku.php?id=start&do=login");
    await this.ask(address, "/doku.php", { id: "start", do: "login", u: "admin", p: this.password });
    const { body } = await this.ask(address, "/doku.php?id=start");
    if (!body.includes("do=logout")) throw new Error(`The log-in through ${address} did not work.`);
  }
  /** Saves a page; what it says then must be looked for by the caller. */
  public async save(address: string, page: string, text: string): Promise<void> {
    const { body: form } = await this.ask(address, `/doku.php?id=${page}&do=edit`);
    const given = Object.fromEntries(formFields.map((name) => {
      const value = new RegExp(`name="${name}" value="([^"]*)"`, "g");
      return [name, [...form.matchAll(value)].at(-1)?.[1] ?? ""];
    }));
    const { status, body } = await this.ask(address, "/doku.php", { ...given, id: page, rev: "0", prefix: ".", suffix: "", target: "section", wikitext: text, "do[save]": "1" });
    if (status !== 302) throw new Error(`${page} was not saved through ${address}: ${status} ${body.slice(0, 2000)}`);
  }
  public async read(address: string, page: string): Promise<string> {
    return (await this.ask(address, `/doku.php?id=${page}`)).body;
  }
}
