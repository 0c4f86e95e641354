import { HcError } from "../../../daemon/lib/errors.js";
import { adapt } from "../../../providers/core/adapter.js";
import type { Handler } from "../../../providers/core/handler.js";
import { PartialError } from "../../../providers/core/partial-error.js";
import { clearRegistry, register } from "../../../providers/core/registry.js";
import { sanitize } from "../../../providers/core/sanitize.js";

interface Inputs { name: string; mode?: string }
interface Outputs extends Inputs { guid?: bigint; when?: Date; nothing?: undefined }
const seen: unknown[] = [];
const handler: Handler<Inputs, Outputs> = {
  check: async (olds, news) => { seen.push(["check", olds, news]); return { inputs: { ...news, mode: news.mode ?? "plain" }, failures: [] }; },
  diff: async (_id, olds, news) => ({ changes: olds.name !== news.name, ...(olds.name !== news.name ? { replaces: ["name"] } : {}) }),
  create: async (inputs) => {
    if (inputs.mode === "partial") throw new PartialError("half-way", "id-1", { ...inputs, guid: 7n });
    if (inputs.mode === "refused") throw new HcError("PORT_IN_USE", "ports.http: 80 is in use");
    if (inputs.mode === "text") throw "just text"; // what a library might throw
    return { id: "id-1", outs: { ...inputs, guid: 12345678901234567890n, when: new Date(0), nothing: undefined } };
  },
  update: async (_id, _olds, news) => { if (news.mode === "partial") throw new PartialError("half-way", "id-1", news); return { outs: news }; },
  read: async (id, props) => ({ id: props.name === "gone" ? "" : id, props }),
  delete: async (id, props) => void seen.push(["delete", id, props]),
};
const entry = adapt(handler);
process.env["HC_KEEP_PROVIDER"] = "1";

describe("what a trampoline calls", () => {
  it("waits for configure: the SDK may call a method before", async () => {
    const early = entry.check({}, { name: "a", __provider: "text" });
    let done = false;
    void early.then(() => { done = true; });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    await entry.configure({});
    expect(await early).toEqual({ inputs: { name: "a", mode: "plain" }, failures: [] });
    expect(seen).toEqual([["check", {}, { name: "a" }]]); // handlers never see __provider
  });
  it("gives back nothing that gRPC could not carry", async () => {
    expect(await entry.create({ name: "a", __provider: "text" })).toEqual({ id: "id-1", outs: { name: "a", guid: "12345678901234567890", when: "1970-01-01T00:00:00.000Z", schemaVersion: 1 } });
    expect(sanitize({ a: [undefined, 1n], b: { c: undefined, d: null }, m: new Map([["k", 1]]), f: () => 1 })).toEqual({ a: [null, "1"], b: { d: null }, m: { k: 1 } });
  });
  it("keeps __provider in a half-made resource, or it could never be destroyed", async () => {
    const failed = { message: "half-way", id: "id-1", reasons: ["half-way"], properties: { name: "a", mode: "partial", schemaVersion: 1, __provider: "text" } };
    await expect(entry.create({ name: "a", mode: "partial", __provider: "text" })).rejects.toMatchObject({ ...failed, properties: { ...failed.properties, guid: "7" } });
    await expect(entry.update("id-1", { name: "a" }, { name: "a", mode: "partial", __provider: "text" })).rejects.toMatchObject(failed);
  });
  it("throws errors only, with the code for people and no numeric code for gRPC", async () => {
    for (const [mode, message] of [["refused", "ports.http: 80 is in use (PORT_IN_USE)"], ["text", "just text"]] as const) {
      const error = await entry.create({ name: "a", mode }).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(Error);
      expect(error).toMatchObject({ message });
      expect(error).not.toHaveProperty("code");
      expect(error).not.toHaveProperty("id");
    }
  });
  it("deletes before it replaces, and says what is gone", async () => {
    expect(await entry.diff("id-1", { name: "a" }, { name: "b" })).toEqual({ changes: true, replaces: ["name"], deleteBeforeReplace: true });
    expect(await entry.read("id-1", { name: "gone", __provider: "text" })).toMatchObject({ id: "", props: { __provider: "text" } });
    await entry.delete("id-1", { name: "a", __provider: "text" });
    expect(seen.at(-1)).toEqual(["delete", "id-1", { name: "a" }]);
  });
});

describe("names in a program", () => {
  it("can be used once", () => {
    clearRegistry();
    register("host name in cluster eu", "shop.example", "Site shop");
    register("host name in cluster us", "shop.example", "Site shop-us");
    expect(() => register("host name in cluster eu", "shop.example", "Site blog")).toThrow('Site blog: the host name in cluster eu "shop.example" is already used by Site shop');
  });
});
