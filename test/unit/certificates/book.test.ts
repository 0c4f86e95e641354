import { CertificateBook } from "../../../daemon/certificates/book.js";
import { sealCertificate } from "../../../daemon/certificates/sealing.js";
import { createSealer } from "../../../daemon/lib/sealed.js";
import { updates } from "../../../daemon/proxy/certificate-feed.js";
import { TlsContexts } from "../../../daemon/proxy/tls-contexts.js";
import { TestCa } from "../../support/certificates.js";
import { StateBuilder } from "../placement/fixture.js";

const sealer = createSealer(Buffer.alloc(32, 7).toString("base64"));
const tls = (certificate: string) => ({ tls: { certificate, redirect: true } });

test("what living sites need is opened, once; what cannot be opened is told and left out", async () => {
  const ca = await TestCa.create();
  const shop = await ca.issue(["shop.example", "*.shop.example"]);
  const spec = sealCertificate(sealer, "shop", shop, Date.now());
  expect([spec.key.startsWith("sealed:1:"), JSON.stringify(spec).includes("PRIVATE KEY")]).toEqual([true, false]);
  expect(sealCertificate(sealer, "shop", spec, Date.now())).toEqual(spec);
  expect(() => sealCertificate(sealer, "shop", { chain: shop.chain, key: "T0KEN" }, Date.now())).toThrow(/^certificate shop: key: cannot be read; (?!.*T0KEN)/);
  let opened = 0;
  const counted = { ...sealer, open: (place: string, text: string) => {
    opened += 1;
    return sealer.open(place, text);
  } };
  const book = new CertificateBook(counted);
  const state = new StateBuilder().document("certificate", "shop", spec).document("certificate", "moved", spec).document("certificate", "idle", sealCertificate(sealer, "idle", shop, Date.now()))
    .site("shop", { hostnames: ["shop.example", "*.shop.example"], ...tls("shop") }).site("plain").site("odd", tls("moved")).site("early", tls("later")).build();
  const first = book.of(state);
  const [id] = [...first.certificates.keys()];
  expect([...first.names]).toEqual([["shop.example", id], ["*.shop.example", id]]);
  expect([...first.certificates.values()]).toEqual([{ chain: shop.chain, key: shop.key }]);
  expect([...first.problems]).toEqual([["certificate moved", expect.stringMatching(/cannot be opened with this cluster's key/)]]);
  book.of(state);
  expect(opened).toBe(2);
  expect([...new CertificateBook(undefined).of(state).problems.values()]).toEqual(Array.from({ length: 2 }, () => expect.stringMatching(/has no key for secrets/)));
});

test("workers are told everything once, then what changes; a new line closes no site", async () => {
  const ca = await TestCa.create();
  const one = await ca.issue(["*.one.example"]);
  const books = (count: number, suffix: string) => ({
    problems: new Map(), certificates: new Map(Array.from({ length: count }, (_, at) => [`c${at}${suffix}`, one])), names: new Map(Array.from({ length: count }, (_, at) => [`${at}.one.example`, `c${at}${suffix}`])),
  });
  const log = { warn: () => undefined } as never;
  const contexts = new TlsContexts(log, 3);
  const before = books(500, "");
  const all = updates(undefined, before);
  expect([all.length, all[0]?.reset, all.at(-1)?.complete]).toEqual([5, true, true]);
  for (const part of all) contexts.update(part);
  for (const at of [0, 250, 499, 7]) expect(contexts.of(`${at}.one.example`)).toBeDefined();
  expect([contexts.cached, contexts.of("500.one.example"), contexts.has("500.one.example"), contexts.has("3.one.example")]).toEqual([3, undefined, false, true]);
  const after = books(2, "b");
  // all of it anew: until the last part has come, the old ones are there
  const [reset, ...rest] = updates(undefined, after);
  contexts.update({ ...(reset as object), complete: undefined } as never);
  expect([contexts.has("400.one.example"), rest.length]).toEqual([true, 0]);
  contexts.update({ complete: true, certificates: {}, names: {} });
  expect([contexts.has("400.one.example"), contexts.has("1.one.example")]).toEqual([false, true]);
  for (const part of updates(after, before)) contexts.update(part);
  expect([contexts.has("400.one.example"), updates(before, before)]).toEqual([true, []]);
  // what OpenSSL does not take serves nobody, and nobody is sent to it
  contexts.update({ certificates: { bad: { chain: "x", key: "y" } }, names: { "bad.example": "bad" } });
  expect([contexts.of("BAD.example."), contexts.has("bad.example")]).toEqual([undefined, false]);
});
