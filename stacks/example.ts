import { Cluster, Customer, Host, Site, Template, ZfsPool } from "./library.js";

// What a web host's program looks like: three machines in two places. Compiled with the library, so that it stays right.
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const hosts = [
  new Host("fra1", { address: "fra1.example.net", hostKey: key, platform: "freebsd", zone: "fra" }),
  new Host("fra2", { address: "fra2.example.net", hostKey: key, platform: "freebsd", zone: "fra" }),
  new Host("lon1", { address: "lon1.example.net", hostKey: key, platform: "freebsd", zone: "lon" }),
];
const pools = hosts.map((host) => new ZfsPool(`${host.nodeName}-pool`, { host, vdevs: [{ mirror: ["ada1", "ada2"] }] }, { protect: true }));
const cluster = new Cluster("eu", { pools, redundancy: 2 });

const acme = new Customer("acme", { cluster, contact: "it@acme.example" });
const php = new Template("php", { cluster, recipe: "php", version: "1" });
const shop = new Site("shop", {
  customer: acme, template: php,
  hostnames: ["shop.example", "www.shop.example"],
  quota: "10G", limits: { memory: "512M", cpu: 1 },
  placement: { prefer: ["fra1", "fra2"], acrossZones: true }, replicas: 2,
});
export const urls = shop.urls;
export const home = shop.home;
