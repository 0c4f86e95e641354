import type { RequestHead } from "../../daemon/proxy/http-head.js";
import type { RouteTable } from "../../daemon/proxy/routes.js";
import { type PolicyInput, sitePolicy } from "../../daemon/proxy/site-policy.js";

const table = (httpsPort?: number): RouteTable => ({
  version: 1, revision: "1", node: "n1", hosts: {}, nodes: {}, apachePort: 1, ...(httpsPort === undefined ? {} : { httpsPort }),
  units: { "site-shop": { home: "n1", epoch: 1, open: true, tls: { redirect: true, hsts: "max-age=60" } }, "site-open": { home: "n1", epoch: 1, open: true, tls: { redirect: false, hsts: "" } }, "site-plain": { home: "n1", epoch: 1, open: true } },
});
const head = (more: Partial<RequestHead> = {}): PolicyInput["head"] => ({ method: "GET", target: "/a?b=c", host: "shop.example", keepAlive: true, framing: { kind: "none" }, ...more });
const ask = (more: Partial<PolicyInput> = {}): string => {
  const policy = sitePolicy({ table: table(443), unit: "site-shop", head: head(), proto: "http", certificates: { has: () => true }, challenges: { abc: "abc.thumb" }, ...more });
  return "answer" in policy ? policy.answer : policy.fields;
};

test("HTTP is sent to HTTPS: where the name has a certificate, and with its method", () => {
  expect(ask()).toMatch(/^HTTP\/1\.1 301 Moved Permanently\r\nLocation: https:\/\/shop\.example\/a\?b=c\r\n[\s\S]*Content-Length: 35\r\n[\s\S]*keep-alive\r\n\r\nThis site is at its HTTPS address\.\n$/);
  expect(ask({ head: head({ method: "HEAD" }) })).toMatch(/^HTTP\/1\.1 301 [\s\S]*\r\n\r\n$/);
  expect(ask({ head: head({ method: "POST", framing: { kind: "length", bytes: 9 } }) })).toMatch(/^HTTP\/1\.1 308 Permanent Redirect\r\n[\s\S]*Content-Length: 35\r\nConnection: close\r\n\r\nThis/);
  expect(ask({ table: table(8443) })).toContain("Location: https://shop.example:8443/a?b=c\r\n");
  expect(ask({ head: head({ host: "fd00::1" }) })).toContain("Location: https://[fd00::1]/a?b=c\r\n");
  for (const more of [{ certificates: { has: () => false } }, { table: table() }, { unit: "site-open" }, { unit: "site-plain" }, { unit: undefined }, { head: head({ method: "OPTIONS", target: "*" }) }]) expect(ask(more)).toBe("");
});

test("a challenge of the CA is answered before all else, for whatever name; others' tokens are the site's", () => {
  const challenge = (more: Partial<PolicyInput> = {}, path = "/.well-known/acme-challenge/abc", method = "GET"): string => ask({ head: head({ target: path, method }), ...more });
  for (const more of [{}, { unit: undefined }, { unit: "site-plain" }, { proto: "https" as const, certificates: { has: () => false } }]) expect(challenge(more)).toMatch(/^HTTP\/1\.1 200 OK\r\nContent-Type: application\/octet-stream\r\n[\s\S]*\r\n\r\nabc\.thumb$/);
  expect(challenge({}, "/.well-known/acme-challenge/abc", "HEAD")).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*Content-Length: 9\r\n[\s\S]*\r\n\r\n$/);
  for (const path of ["abd", "", "constructor", "abc?x", "abc/"]) expect(challenge({ unit: "site-plain" }, `/.well-known/acme-challenge/${path}`)).toBe("");
  expect(challenge({ unit: "site-plain" }, "/.well-known/acme-challenge/abc", "POST")).toBe("");
});

test("a name without a certificate is not to be had over another's connection", () => {
  for (const unit of ["site-plain", "site-shop", undefined]) expect(ask({ proto: "https", unit, certificates: { has: () => false } })).toMatch(/^HTTP\/1\.1 421 Misdirected Request\r\n/);
});

test("HSTS goes with answers over HTTPS, and no others", () => {
  expect(ask({ proto: "https" })).toBe("Strict-Transport-Security: max-age=60\r\n");
  expect([ask({ proto: "https", unit: "site-open" }), ask({ proto: "https", unit: "site-plain" }), ask({ unit: "site-open" })]).toEqual(["", "", ""]);
});
