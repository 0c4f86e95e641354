import { readdirSync, readFileSync, statSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { connect } from "node:tls";
import type { CertificateStatus } from "../../daemon/certificates/certificate-status.js";
import { validate } from "../../daemon/lib/schema.js";
import { statusSchema } from "../../daemon/api/status-schema.js";
import type { Status } from "../../daemon/lib/status.js";
import type { TrashRecord } from "../../daemon/lib/records.js";
import { delay } from "../../daemon/lib/abort.js";
import { AcmeServer } from "../support/acme-server.js";
import { TestCa } from "../support/certificates.js";
import { HcProject, stepText } from "../support/hc-project.js";

// A web host's own project on a real three-node lab, through the command line: Must hold 1, 3, 4, 8 and the trash.
jest.setTimeout(240_000);
let project: HcProject;
const site = (unit: string, status: Status) => status.units.find((one) => one.id === unit);
const status = (): Promise<Status> => project.status();
async function eventually<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + 60_000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (performance.now() > end) throw new Error(`never: ${what}`);
    await delay(200);
  }
}

beforeAll(async () => {
  project = new HcProject(`program-${process.pid}`);
  project.wish.sites = { one: {}, two: {} };
  const up = await project.operate("up");
  if (up.ran.code !== 0) throw new Error(up.error);
});
afterAll(async () => {
  expect(await project.remove()).toBe(0);
});

test("again: every resource unchanged", async () => {
  const up = await project.operate("up");
  expect(up.result).toMatchObject({ result: "succeeded", changes: { create: 0, update: 0, replace: 0, delete: 0 } });
  expect(up.planned).toEqual([]);
});

test("the preview of each change shows exactly what up then does", async () => {
  const change = async (change: () => void, expected: string[]): Promise<void> => {
    change();
    const preview = await project.operate("preview");
    expect(preview.planned.map(stepText).sort()).toEqual(expected);
    const up = await project.operate("up");
    expect(up.error).not.toMatch(/error/i);
    expect(up.done.map(stepText).sort()).toEqual(expected);
    expect((await project.operate("preview")).planned).toEqual([]);
  };
  const { sites } = project.wish;
  await change(() => { sites["one"] = { quota: "96M" }; }, ["update Site one (quota)"]);
  await change(() => { sites["one"] = { quota: "96M", hostnames: ["one.localhost", "www.one.localhost"] }; }, ["update Site one (hostnames)"]);
  await change(() => { sites["three"] = {}; }, [expect.stringMatching(/^create Site three/) as unknown as string]);
  const seen = await status();
  expect(site("site-one", seen)).toMatchObject({ quota: "96M", hostnames: ["one.localhost", "www.one.localhost"], state: "serving" });
  await change(() => { delete sites["three"]; }, [expect.stringMatching(/^delete Site three/) as unknown as string]);
});

test("a removed site lies in the trash and comes back", async () => {
  const [record] = (await project.json<TrashRecord[]>(["trash", "list"])).filter((item) => item.unit === "site-three");
  expect(record?.unit).toBe("site-three");
  expect((await project.hc(["trash", "restore", record?.id ?? ""])).code).toBe(0);
  const back = await eventually("site-three serves again", async () => {
    const unit = site("site-three", await status());
    return unit?.state === "serving" ? unit : undefined;
  });
  expect(back).toMatchObject({ origin: "api" });
  // what lives without the program is not touched by up, and taken over when it is declared with adopt
  expect((await project.operate("up")).done).toEqual([]);
  project.wish.sites["three"] = {};
  expect((await project.operate("preview")).error).toMatch(/three: name: site-three exists and was made through the API; say adopt: true/);
  project.wish.sites["three"] = { adopt: true };
  expect((await project.operate("up")).result?.result).toBe("succeeded");
  expect(site("site-three", await status())).toMatchObject({ origin: "git", state: "serving" });
});

describe("bad values fail with the property named, before anything was changed", () => {
  const refused = async (change: (wish: HcProject["wish"]) => void, message: RegExp): Promise<void> => {
    const before = structuredClone(project.wish);
    change(project.wish);
    const up = await project.operate("up");
    project.wish = before;
    expect(up.error).toMatch(message);
    expect(up.ran.code).not.toBe(0);
    expect(up.done).toEqual([]);
  };
  test.each<[string, (wish: HcProject["wish"]) => void, RegExp]>([
    ["an unknown property", (wish) => { wish.sites["one"] = { qouta: "1G" }; }, /qouta.*is not a known property/],
    ["more copies than nodes", (wish) => { wish.sites["one"] = { replicas: 4 }; }, /replicas.*4 copies need as many nodes/],
    ["a bad host name", (wish) => { wish.sites["one"] = { hostnames: ["not_a name"] }; }, /hostnames.*cannot be used/],
    ["a host name twice", (wish) => { wish.sites["one"] = { hostnames: ["two.localhost"] }; }, /two\.localhost.*already used by Site/],
    ["a quota below what is used", (wish) => { wish.sites["one"] = { quota: "16K", hostnames: ["one.localhost"] }; }, /one: quota: 16K is below the .* that site-one uses/],
    ["another pool", (wish) => { wish.pool = { pool: "other" }; }, /pool.*replaces hpool\/hc.*allowReplace: "hpool\/hc"/],
    ["a host key that does not match", (wish) => { wish.hosts = { n2: { hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" } }; }, /n2: hostKey/],
    ["an unreachable host", (wish) => { wish.host = { address: "127.0.0.1", port: 1, hostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }; }, /extra: address/],
  ])("%s", async (_what, change, message) => refused(change, message));
});

test("after a move the preview shows no change, and the old home is a replica again", async () => {
  const before = site("site-one", await status());
  const target = ["n1", "n2", "n3"].find((node) => node !== before?.home && !before?.replicas.some((replica) => replica.node === node)) ?? "";
  const datasetOf = async (node: string): Promise<string> => (await project.hc(["ssh", node, "--", "zfs", "get", "-Hpo", "value", "createtxg", "hpool/hc/site-one"])).stdout.trim();
  const kept = await datasetOf(before?.home ?? "");
  expect(kept).toMatch(/^[0-9]+$/);
  expect((await project.hc(["move", "one", "--to", target])).code).toBe(0);
  expect((await project.operate("preview")).planned).toEqual([]);
  const after = await eventually("the old home is a replica in step", async () => {
    const unit = site("site-one", await status());
    const old = unit?.replicas.find((replica) => replica.node === before?.home);
    return unit?.home === target && unit.state === "serving" && old?.lagSeconds !== null && old?.lagSeconds !== undefined ? unit : undefined;
  });
  expect(after.epoch).toBe((before?.epoch ?? 0) + 1);
  expect(await datasetOf(before?.home ?? "")).toBe(kept); // the same dataset, reached by an increment: a full send makes a new one
});

test("the command line on a living cluster: what programs read, what people ask, exit codes", async () => {
  const seen = await project.hc(["status", "--json"]);
  expect(validate(statusSchema, JSON.parse(seen.stdout))).toEqual([]);
  expect(seen.code).toBe(0);
  expect((await project.hc(["why", "one.localhost"])).stdout).toMatch(/^ok {2}name: one\.localhost, www\.one\.localhost → site-one/);
  expect((await project.json<{ record: { unit: string } }>(["site", "show", "one"])).record.unit).toBe("site-one");
  expect((await project.json<{ event: string }[]>(["events", "one"])).map(({ event }) => event)).toContain("moved");
  expect(await project.hc(["ssh", "n2", "--", "uname", "-n"])).toMatchObject({ code: 0, stdout: "n2\n" });
  expect(await project.hc(["ssh", "n2", "--", "sh", "-c", "exit 7"])).toMatchObject({ code: 7 });
  expect((await project.json<{ ok: boolean }[]>(["doctor"])).map(({ ok }) => ok)).toEqual([true, true, true]);
  expect((await project.hc(["doctor", "--plan", "n1"])).stdout).toContain("nothing to change");
  expect(await project.hc(["move", "one", "--to", "n9"])).toMatchObject({ code: 2, stderr: expect.stringMatching(/to: there is no node "n9"; nodes are n1, n2, n3/) });
  expect(await project.hc(["why", "nosuch"])).toMatchObject({ code: 1, stderr: expect.stringContaining("There is no site nosuch") });
});

describe("HTTPS", () => {
  let ca: TestCa;
  let server: AcmeServer;
  let own: Awaited<ReturnType<TestCa["issue"]>>;
  const addresses = async (): Promise<string[]> => (await status()).nodes.map(({ address }) => address);
  /** One request over TLS: what came back, whose certificate it was, and the session for the next. */
  const ask = (address: string, servername: string, session?: Buffer): Promise<{ text: string; names: string; reused: boolean; session: Buffer | undefined }> => new Promise((resolve, reject) => {
    let text = "";
    let last: Buffer | undefined;
    const socket = connect({ host: address, port: 443, servername, ca: ca.root, ...(session === undefined ? {} : { session }) }, () => socket.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\nConnection: close\r\n\r\n`));
    socket.on("session", (next: Buffer) => {
      last = next;
    });
    let names = "";
    let reused = false;
    socket.once("secureConnect", () => {
      names = socket.getPeerCertificate().subjectaltname ?? "";
      reused = socket.isSessionReused();
    });
    socket.on("data", (data: Buffer) => {
      text += data.toString("latin1");
    });
    socket.on("end", () => resolve({ text, names, reused, session: last }));
    socket.on("error", reject);
  });
  const plain = (address: string, host: string): Promise<[number | undefined, string | undefined]> => new Promise((resolve, reject) => {
    get({ host: address, port: 80, path: "/x?y", headers: { host }, agent: false }, (response) => {
      response.resume();
      resolve([response.statusCode, response.headers.location]);
    }).on("error", reject);
  });
  beforeAll(async () => {
    ca = await TestCa.create();
    own = await ca.issue(["one.localhost", "www.one.localhost"]);
    const nodes = await addresses();
    let turn = 0;
    // the CA asks another node each time
    server = await new AcmeServer({ ca, address: (nodes[0] ?? "").replace(/[0-9]+$/, "1"), resolve: () => {
      turn += 1;
      return { host: nodes[turn % nodes.length] ?? "", port: 80 };
    } }).start();
  });
  afterAll(() => server.stop());

  test("a certificate of the program, and one by ACME: at every node, asked for by the leader alone, keys nowhere in clear", async () => {
    project.wish.certificates = { own: { chain: own.chain, key: own.key } };
    project.wish.acme = { termsOfServiceAgreed: true, directory: server.directory, ca: ca.root };
    project.wish.sites["one"] = { ...project.wish.sites["one"], hostnames: ["one.localhost", "www.one.localhost"], tls: { certificate: "own", hsts: { maxAgeSeconds: 600 } } };
    project.wish.sites["two"] = { tls: { certificate: "acme" } };
    const up = await project.operate("up");
    expect(up.done.map((step) => stepText(step).replace(/ \(.*/, "")).sort()).toEqual(["create Certificate own", expect.stringMatching(/^update Cluster/), "update Site one", "update Site two"]);
    expect((await project.operate("preview")).planned).toEqual([]);
    const nodes = await addresses();
    await eventually("all nodes serve both names", async () => {
      const seen = await Promise.all(nodes.flatMap((address) => ["one.localhost", "two.localhost"].map((name) => ask(address, name).then(({ names }) => names, () => ""))));
      return seen.every((names) => names !== "") ? true : undefined;
    });
    for (const address of nodes) {
      const one = await ask(address, "one.localhost");
      expect([one.names, one.text]).toEqual(["DNS:one.localhost, DNS:www.one.localhost", expect.stringMatching(/^HTTP\/1\.1 200 OK\r\n[\s\S]*Strict-Transport-Security: max-age=600\r\n/)]);
      expect((await ask(address, "two.localhost")).names).toBe("DNS:two.localhost");
      expect([await plain(address, "one.localhost"), await plain(address, "two.localhost")]).toEqual([[301, "https://one.localhost/x?y"], [301, "https://two.localhost/x?y"]]);
      await expect(ask(address, "three.localhost")).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" });
    }
    const { session } = await ask(nodes[0] ?? "", "one.localhost");
    expect((await ask(nodes[1] ?? "", "one.localhost", session)).reused).toBe(true);
    expect([server.orders.length, server.accounts.size]).toEqual([1, 1]);
    expect(await project.json<CertificateStatus[]>(["certificates"])).toMatchObject([{ name: "own", kind: "stack", sites: ["one"], reason: "" }, { name: "two.localhost", kind: "acme", sites: ["two"], failures: 0, reason: "" }]);
    expect((await project.hc(["status"])).code).toBe(0);
    const secret = own.key.split("\n")[1] ?? "";
    for (const node of ["n1", "n2", "n3"]) expect([node, await project.inside(node, `grep -rlF -e '${secret}' /var/lib/hybridcluster /run/hybridcluster /var/log 2>/dev/null | head -3; journalctl --no-pager -o cat | grep -cF '${secret}' || true`)]).toEqual([node, "0"]);
    const files = (root: string): string[] => readdirSync(root).flatMap((name) => (name === "labs" ? [] : statSync(join(root, name)).isDirectory() ? files(join(root, name)) : [join(root, name)]));
    expect(files(join(project.folder, "home")).filter((path) => readFileSync(path, "latin1").includes(secret))).toEqual([]);
  });

  test("what is wrong with a certificate is said before anything is changed", async () => {
    const kept = structuredClone(project.wish);
    project.wish.certificates = { own: { chain: own.chain, key: (await ca.issue(["one.localhost"])).key } };
    const refused = await project.operate("up");
    expect([refused.error, refused.done]).toEqual([expect.stringMatching(/own.*key.*does not belong to the first certificate of the chain/), []]);
    project.wish = kept;
  });
});

test("more than three removed sites are refused without a word, and come back from the trash with one", async () => {
  const kept = structuredClone(project.wish.sites);
  project.wish.sites = { ...kept, four: {}, five: {} };
  expect((await project.operate("up")).result?.result).toBe("succeeded");
  project.wish.sites = {};
  const refused = await project.operate("up");
  expect(refused.ran.code).toBe(4);
  expect(refused.error).toMatch(/--allow-delete=5/);
  expect((await status()).units).toHaveLength(5);
  expect((await project.operate("up", ["--allow-delete", "5"])).result?.changes.delete).toBe(5);
  const trash = await project.json<TrashRecord[]>(["trash", "list"]);
  expect(trash.map((item) => item.unit)).toEqual(expect.arrayContaining(["site-one", "site-two", "site-three", "site-four", "site-five"]));
});
