import * as pulumi from "@pulumi/pulumi";
import { LocalEntry } from "../../../providers/resources/local-entry.js";
import { LocalHost } from "../../../providers/resources/local-host.js";

const seen: pulumi.runtime.MockResourceArgs[] = [];
beforeAll(async () => {
  await pulumi.runtime.setMocks({ call: () => ({}), newResource: (args) => { seen.push(args); return { id: `${args.name}-id`, state: args.inputs }; } });
});

it.each([["localHost", () => new LocalHost("n1", { lab: "demo" }).urn], ["localEntry", () => new LocalEntry("entry", { targets: ["10.77.1.11"] }).urn]] as const)(
  "%s's text calls the present code by its frozen key, captures nothing and stays small", async (key, make) => {
    seen.length = 0;
    await new Promise((done) => make().apply(done));
    const { inputs, type } = seen[0] as pulumi.runtime.MockResourceArgs;
    expect(type).toMatch(/^pulumi-nodejs:dynamic\/hybridcluster:Local(Host|Entry)$/);
    const text = String(inputs["__provider"]);
    expect(text.length).toBeLessThanOrEqual(2200);
    for (const method of ["configure", "check", "diff", "create", "read", "update", "delete"]) expect(text).toContain(`m.${key}.${method}(`);
    expect(text).not.toMatch(/require\(|__importStar|\/(work|home|root)\//);
    expect(inputs["name"]).toBe(key === "localHost" ? "n1" : "entry");
  }, 30_000);
