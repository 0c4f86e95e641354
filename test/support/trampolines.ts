import * as pulumi from "@pulumi/pulumi";
import { issue, makeCa } from "../../providers/core/pki.js";
import { Alerts } from "../../providers/resources/alerts.js";
import { Certificate } from "../../providers/resources/certificate.js";
import { Cluster } from "../../providers/resources/cluster.js";
import { Customer } from "../../providers/resources/customer.js";
import { Host } from "../../providers/resources/host.js";
import { LocalEntry } from "../../providers/resources/local-entry.js";
import { LocalHost } from "../../providers/resources/local-host.js";
import { Site } from "../../providers/resources/site.js";
import { Template } from "../../providers/resources/template.js";
import { ZfsPool } from "../../providers/resources/zfs-pool.js";

export const hostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9Yv0Yq3eL0mQ2tC1mWwq5G3s0bW3mKq3b0x8b5v1r";
export interface Registered { key: string; type: string; text: string; inputs: Record<string, unknown>; /** Inputs that are secrets. */ secrets: string[] }

const secretMark = "4dabf18193072939515e22adb298388d";
/** As the engine hands inputs to a provider: secrets in clear. */
function inClear(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inClear);
  if (typeof value !== "object" || value === null) return value;
  if (secretMark in value) return inClear((value as { value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, inClear(inner)]));
}

/** One resource of each class, as the SDK registers it: frozen key → serialized provider, type and inputs. */
export async function registerAll(): Promise<Map<string, Registered>> {
  const seen: pulumi.runtime.MockResourceArgs[] = [];
  await pulumi.runtime.setMocks({ call: () => ({}), newResource: (args) => { seen.push(args); return { id: `${args.name}-id`, state: args.inputs }; } });
  const local = new LocalHost("n1", { lab: "demo" });
  const host = new Host("fra1", { address: "192.0.2.1", hostKey, platform: "linux", zone: "fra" });
  const pool = new ZfsPool("fra1-pool", { host, vdevs: [{ disk: "/dev/vdb" }] });
  const cluster = new Cluster("eu", { pools: [pool], redundancy: 1 });
  const customer = new Customer("acme", { cluster });
  const template = new Template("php", { cluster, recipe: "php", version: "1" });
  const site = new Site("shop", { customer, template, hostnames: ["shop.example"] });
  const entry = new LocalEntry("entry", { targets: ["192.0.2.1"] });
  const alerts = new Alerts("ops", { cluster, webhooks: [{ url: "https://hooks.example/T0KEN" }] });
  const pair = await issue(await makeCa("test", new Date()), "shop.example", [], new Date());
  const certificate = new Certificate("own", { cluster, chain: pair.cert, key: pair.key });
  await Promise.all([certificate, alerts, local, host, pool, cluster, customer, template, site, entry].map((resource) => new Promise((resolve) => resource.urn.apply(resolve))));
  return new Map(seen.map(({ type, inputs }) => {
    const { __provider, ...rest } = inputs as Record<string, unknown>;
    const name = type.split(":").at(-1) ?? "";
    const key = `${name[0]?.toLowerCase()}${name.slice(1)}`;
    return [key, { key, type, text: String(__provider), inputs: inClear(rest) as Record<string, unknown>, secrets: Object.keys(rest).filter((name) => secretMark in Object(rest[name])) }];
  }));
}
