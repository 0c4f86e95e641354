import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { demoPassword, dokuwikiHash } from "./demo-password.js";
import { Customer, LocalCluster, LocalEntry, Site, Template } from "./library.js";

// The demo of `npm start`. Tests run other copies of it beside the demo, by these settings.
const config = new pulumi.Config("hybridcluster");
const name = config.get("lab") ?? "local";
const entryPort = config.getNumber("entryPort") ?? 8080;
const nodeCount = config.getNumber("nodes") ?? 3;
const withWiki = config.getBoolean("wiki") ?? true;

const local = new LocalCluster(name, { nodes: nodeCount });
const { cluster } = local;
const demo = new Customer("demo", { cluster, contact: "demo@localhost" });

const php = new Template("php", { cluster, recipe: "php", version: "1" });
const hello = new Site("hello", { customer: demo, template: php, hostnames: ["hello.localhost"], quota: config.get("helloQuota") ?? "256M", content: join(__dirname, "..", "..", "stacks", "content", "hello") });

const password = demoPassword();
const sites: Record<string, Site> = { hello };
if (withWiki) {
  const dokuwiki = new Template("dokuwiki", { cluster, recipe: "dokuwiki", version: "1", settings: { title: "Demo", adminPasswordHash: pulumi.secret(dokuwikiHash(password.text)) } });
  // the nodes' own addresses as host names: http://<address of any node>/ shows the wiki
  const addresses = local.hosts.map((host) => host.connection.apply((connection) => connection.address));
  sites["wiki"] = new Site("wiki", { customer: demo, template: dokuwiki, hostnames: ["wiki.localhost", ...addresses], quota: "1G" });
}
new LocalEntry("entry", { port: entryPort, targets: local.hosts.map((host) => host.connection.apply((connection) => connection.address)) }, { dependsOn: [cluster] });

/** site → addresses through the entry on this machine */
export const urls = Object.fromEntries(Object.keys(sites).map((site) => [site, [`http://${site}.localhost:${entryPort}/`]]));
export const nodes = local.addresses;
/** How to edit the wiki: the password lies in a file of this machine. */
export const login = withWiki ? `Log in to the wiki as admin; the password is in ${password.file}` : undefined;
