import type { SiteSpec } from "../lib/documents.js";
import { messageOf } from "../lib/errors.js";
import type { Sealer } from "../lib/sealed.js";
import { acme, type CertificateSpec } from "../lib/tls-spec.js";
import { type ClusterState, desiredOf } from "../state/cluster-state.js";
import { acmeNames } from "./plan-acme.js";
import { documentKeyPlace, recordKeyPlace } from "./sealing.js";

export interface OpenCertificate { chain: string; key: string }
export interface Book {
  /** Id → opened; an id names one text for ever (it has the revision, or the nonce), so what has the same id is the same. */
  certificates: ReadonlyMap<string, OpenCertificate>;
  /** Host name of a site → id. */
  names: ReadonlyMap<string, string>;
  /** What could not be opened: "certificate shop" → why. */
  problems: ReadonlyMap<string, string>;
}

/** What living sites need, opened. What was opened before is not opened again. */
export class CertificateBook {
  private opened = new Map<string, OpenCertificate | string>();

  public constructor(private readonly sealer: Sealer | undefined) {}

  public of(state: Pick<ClusterState, "desired" | "certificates">): Book {
    const opened = new Map<string, OpenCertificate | string>();
    const names = new Map<string, string>();
    const problems = new Map<string, string>();
    const open = (id: string, what: string, place: string, sealed: OpenCertificate): boolean => {
      const known = opened.get(id) ?? this.opened.get(id) ?? this.open(place, sealed);
      opened.set(id, known);
      if (typeof known === "string") problems.set(what, known);
      return typeof known !== "string";
    };
    for (const { value } of state.desired.values()) {
      if (value.kind !== "site") continue;
      const { tls, hostnames } = value.spec as SiteSpec;
      if (tls === undefined || tls.certificate === acme) continue;
      const document = desiredOf(state as ClusterState, "certificate", tls.certificate);
      if (document === undefined) continue;
      const id = `certificate/${tls.certificate}@${document.revision}`;
      if (!open(id, `certificate ${tls.certificate}`, documentKeyPlace(tls.certificate), document.value.spec as CertificateSpec)) continue;
      for (const name of hostnames) if (!names.has(name)) names.set(name, id);
    }
    for (const name of acmeNames(state).keys()) {
      const found = state.certificates?.get(name);
      if (found === undefined || found.value.chain === "") continue;
      // the revision grows with each attempt too; the nonce is made from the text that was sealed (daemon/lib/sealed.ts)
      const id = `acme/${name}@${found.value.key.slice(9, 25)}`;
      if (open(id, `certificate for ${name}`, recordKeyPlace(name), found.value) && !names.has(name)) names.set(name, id);
    }
    this.opened = opened;
    const certificates = new Map([...opened].filter((entry): entry is [string, OpenCertificate] => typeof entry[1] !== "string"));
    return { certificates, names, problems };
  }

  private open(place: string, { chain, key }: OpenCertificate): OpenCertificate | string {
    if (this.sealer === undefined) return "this node has no key for secrets; `hc up` hands it over";
    try {
      return { chain, key: this.sealer.open(place, key) };
    } catch (error) {
      return messageOf(error);
    }
  }
}
