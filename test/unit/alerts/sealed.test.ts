import { alertDefaults, alertsFailures, type AlertsSpec, alertsSpecSchema } from "../../../daemon/lib/alerts-spec.js";
import { createSealer } from "../../../daemon/lib/sealed.js";
import { failuresText, validate } from "../../../daemon/lib/schema.js";
import { openAlerts, safeReason, sealAlerts, settingsOf } from "../../../daemon/alerts/receivers.js";
import { alertsHandler } from "../../../providers/handlers/alerts.js";
import type { AlertsInputs } from "../../../providers/schemas/alerts.js";
import { StateBuilder } from "../placement/fixture.js";

const key = Buffer.alloc(32, 7).toString("base64");
const sealer = createSealer(key);
const spec = (): AlertsSpec => ({
  webhooks: [{ name: "chat", url: "https://chat.example/hooks/T0KEN-1", headers: { authorization: "Bearer T0KEN-2" } }],
  mail: { host: "smtp.example", port: 587, security: "starttls", user: "alerts", password: "T0KEN-3", from: "hc@host.example", to: ["admin@host.example"] },
  heartbeat: { url: "https://beat.example/T0KEN-4", everyS: 60 }, ca: "", thresholds: { ...alertDefaults },
});

describe("sealed secrets", () => {
  test("come back as they were, and nothing of them is to be seen", () => {
    const sealed = sealAlerts(sealer, "ops", spec());
    expect(JSON.stringify(sealed)).not.toContain("T0KEN");
    expect(JSON.stringify(sealed)).not.toContain("chat.example");
    expect(openAlerts(sealer, "ops", sealed)).toEqual(spec());
    expect(validate(alertsSpecSchema, sealed)).toEqual([]);
  });
  test("the same secret is the same text, so that nothing changes where nothing changed; at another place it is another", () => {
    expect(sealAlerts(sealer, "ops", spec())).toEqual(sealAlerts(sealer, "ops", spec()));
    expect(sealer.seal("a", "x")).not.toBe(sealer.seal("b", "x"));
    expect(sealer.seal("a", "x")).not.toBe(sealer.seal("a", "y"));
  });
  test("what was read may be put back; a text of another place, another cluster or another day of luck is refused without a word of it", () => {
    const sealed = sealer.seal("a", "hush");
    expect(sealer.seal("a", sealed)).toBe(sealed);
    expect(() => sealer.seal("b", sealed)).toThrow(/^b: cannot be opened/);
    expect(() => createSealer(Buffer.alloc(32, 8).toString("base64")).open("a", sealed)).toThrow(/cannot be opened with this cluster's key/);
    for (let at = 9; at < sealed.length - 2; at += 3) expect(() => sealer.open("a", `${sealed.slice(0, at)}${sealed[at] === "A" ? "B" : "A"}${sealed.slice(at + 1)}`)).toThrow(/cannot be opened/);
    expect(() => sealer.open("a", "plain")).toThrow(/cannot be opened/);
  });
  test("who is told, of several documents: all; of their thresholds the lowest; one that cannot be opened is named and hides no other", () => {
    const slow = { ...spec(), thresholds: { ...alertDefaults, downS: 600, behindS: 100 } };
    const state = new StateBuilder().document("alerts", "ops", sealAlerts(sealer, "ops", spec())).document("alerts", "night", sealAlerts(sealer, "night", slow)).document("alerts", "odd", sealAlerts(createSealer(Buffer.alloc(32, 8).toString("base64")), "odd", spec())).build();
    const settings = settingsOf(state, sealer);
    expect(settings.receivers.map(({ name, where }) => [name, where])).toEqual([["night/chat", "chat.example"], ["night/mail", "admin@host.example by smtp.example:587"], ["ops/chat", "chat.example"], ["ops/mail", "admin@host.example by smtp.example:587"]]);
    expect(settings.heartbeats.map(({ name, where }) => [name, where])).toEqual([["night", "beat.example"], ["ops", "beat.example"]]);
    expect(settings.thresholds).toEqual({ ...alertDefaults, behindS: 100 });
    expect(settings.problems).toEqual({ odd: expect.stringContaining("cannot be opened") });
    expect(settingsOf(state, undefined).problems["ops"]).toContain("hc up");
  });
  test("what a receiver says is told without its secrets", () => {
    const state = new StateBuilder().document("alerts", "ops", sealAlerts(sealer, "ops", spec())).build();
    const [hook, mail] = settingsOf(state, sealer).receivers;
    const said = "cannot POST https://chat.example/hooks/T0KEN-1 (/hooks/T0KEN-1)\n with Bearer T0KEN-2";
    expect(safeReason(new Error(said), hook!)).toBe("cannot POST *** (***) with ***");
    expect(safeReason(new Error(`535 AUTH PLAIN ${Buffer.from("T0KEN-3").toString("base64")} T0KEN-3`), mail!)).toBe("535 AUTH PLAIN *** ***");
  });
});

describe("what is refused, by property and never by value", () => {
  const inputs = (more: object): AlertsInputs => ({ name: "ops", connection: { cluster: "eu", hosts: [{ node: "n1", address: "192.0.2.1", port: 22, user: "root", hostKey: "ssh-ed25519 AAAA", paths: { etc: "/e", state: "/s", run: "/r", log: "/l", lib: "/i", data: "/d" } }], nodes: 3, zones: [], httpPort: 80 }, ...more }) as unknown as AlertsInputs;
  const mail = { host: "smtp.example", from: "a@b.example", to: ["c@d.example"] };
  test.each<[string, object, RegExp]>([
    ["an address that is none", { webhooks: [{ url: "T0KEN" }] }, /^webhooks\.0\.url: is no address/],
    ["a file", { webhooks: [{ url: "file:///etc/T0KEN" }] }, /^webhooks\.0\.url: is no address/],
    ["a token that is no text", { webhooks: [{ url: "https://a.example", headers: { authorization: { T0KEN: 1 } } }] }, /^webhooks\.0\.headers\.authorization: what stands there must be string/],
    ["a header with a line end", { webhooks: [{ url: "https://a.example", headers: { a: "T0KEN\r\nHost: b" } }] }, /^webhooks\.0\.headers\.a: may not hold line ends/],
    ["two of one name", { webhooks: [{ url: "https://a.example/T0KEN", name: "x" }, { url: "https://b.example", name: "x" }] }, /^webhooks: two are named x/],
    ["a password in clear", { mail: { ...mail, security: "none", password: "T0KEN" } }, /^mail\.security: "none" would send the password in clear/],
    ["mail to nobody", { mail: { ...mail, password: "T0KEN", to: [] } }, /^mail\.to: \[\] must NOT have fewer than 1 items/],
    ["a mail address with a line end", { mail: { ...mail, to: ["a@b\r\nBcc: c@d"] } }, /^mail\.to\.0: /],
    ["a heartbeat every millisecond", { heartbeat: { url: "https://a.example/T0KEN", everyS: 0 } }, /^heartbeat\.everyS: 0 must be >= 5/],
    ["a text where a list belongs", { webhooks: "T0KEN" }, /^webhooks: what stands there must be array/],
    ["nobody", {}, /^webhooks: nobody would be told/],
    ["what is not known", { webhook: "T0KEN" }, /^webhook: is not a known property/],
    ["a negative threshold", { mail, thresholds: { downS: -1 } }, /^thresholds\.downS: -1 must be >= 5/],
  ])("%s", async (_what, more, expected) => {
    const { failures } = await alertsHandler.check({}, inputs(more));
    expect(failuresText(failures)).toMatch(expected);
    expect(failuresText(failures)).not.toContain("T0KEN");
  });
  test("defaults are filled in; what a preview cannot know passes", async () => {
    const { inputs: full, failures } = await alertsHandler.check({}, inputs({ webhooks: [{ url: "https://a.example" }], mail, heartbeat: { url: "https://c.example" } }));
    expect(failures).toEqual([]);
    expect(full).toMatchObject({ webhooks: [{ name: "webhook-1", headers: {} }], mail: { port: 587, security: "starttls", user: "", password: "" }, heartbeat: { everyS: 60 }, thresholds: alertDefaults, ca: "" });
    expect(alertsFailures(full)).toEqual([]);
    expect((await alertsHandler.check({}, inputs({ webhooks: "04da6b54-80e4-46f7-96ec-b56ff0331ba9" }))).failures).toEqual([]);
    expect(await alertsHandler.diff("ops", full, structuredClone(full))).toMatchObject({ changes: false });
    expect(await alertsHandler.diff("ops", full, { ...full, mail: { ...full.mail!, password: "new" } })).toMatchObject({ changes: true, replaces: [] });
  });
});
