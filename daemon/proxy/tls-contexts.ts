import { createSecureContext, type SecureContext } from "node:tls";
import type { Logger } from "../lib/log.js";
import { limits } from "./limits.js";

/** PEM texts. */
export interface PublicCertificate { chain: string; key: string }
/**
 * What the control process tells of certificates, in parts: what is not named stays. `reset`: the first part of all there is; what was known before is forgotten when the part with `complete` has come,
 * so that a new line to the control process closes no site. null = gone.
 */
export interface CertificateUpdate { reset?: true; complete?: true; certificates: Record<string, PublicCertificate | null>; /** Host name ("*.name" for one label more) → certificate. */ names: Record<string, string | null> }

/** Mozilla's "intermediate" (https://wiki.mozilla.org/Security/Server_Side_TLS) without finite-field Diffie-Hellman: TLS 1.3's own, and ECDHE with AEAD. */
export const ciphers = [
  "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
/** The same for all names, workers and nodes: a session may be resumed at any of them. */
export const sessionIdContext = "hybridcluster";
export const minVersion = "TLSv1.2";

interface Known { certificates: Map<string, PublicCertificate>; names: Map<string, string> }
const nothing = (): Known => ({ certificates: new Map(), names: new Map() });

/** Certificates by host name, in memory only. A context is made at the first handshake that needs it; the newest used are kept. */
export class TlsContexts {
  private known = nothing();
  /** In the making, between `reset` and `complete`. */
  private next: Known | undefined;
  /** Oldest used first. null: OpenSSL does not take it. */
  private readonly contexts = new Map<string, SecureContext | null>();

  public constructor(private readonly log: Pick<Logger, "warn">, private readonly most: number = limits.tlsContexts) {}

  public update(message: CertificateUpdate): void {
    if (message.reset === true) this.next = nothing();
    const { certificates, names } = this.next ?? this.known;
    for (const [id, one] of Object.entries(message.certificates)) {
      if (one !== null) certificates.set(id, one);
      else certificates.delete(id);
      if (this.next === undefined) this.contexts.delete(id);
    }
    for (const [name, id] of Object.entries(message.names)) {
      if (id !== null) names.set(name, id);
      else names.delete(name);
    }
    if (message.complete !== true || this.next === undefined) return;
    this.known = this.next;
    this.next = undefined;
    this.contexts.clear();
  }

  /** The certificate's id: of the exact name, else of the wildcard one label up (RFC 9525 §6.3). */
  private find(host: string): string | undefined {
    const exact = this.known.names.get(host);
    if (exact !== undefined) return exact;
    const dot = host.indexOf(".");
    return dot === -1 ? undefined : this.known.names.get(`*${host.slice(dot)}`);
  }

  public has(host: string): boolean {
    const id = this.find(host);
    return id !== undefined && this.known.certificates.has(id) && this.contexts.get(id) !== null;
  }

  /** The context for a name of a handshake; undefined: there is none. */
  public of(servername: string): SecureContext | undefined {
    const id = this.find(servername.toLowerCase().replace(/\.$/, ""));
    if (id === undefined) return undefined;
    let context = this.contexts.get(id);
    if (context === undefined) context = this.make(id);
    else this.contexts.delete(id);
    this.contexts.set(id, context);
    for (const oldest of this.contexts.keys()) {
      if (this.contexts.size <= this.most) break;
      this.contexts.delete(oldest);
    }
    return context ?? undefined;
  }
  public get cached(): number {
    return this.contexts.size;
  }

  private make(id: string): SecureContext | null {
    const certificate = this.known.certificates.get(id);
    if (certificate === undefined) return null;
    try {
      return createSecureContext({ cert: certificate.chain, key: certificate.key, ciphers, minVersion, sessionIdContext });
    } catch {
      // OpenSSL's words could quote what it was given
      this.log.warn({ certificate: id }, "a certificate cannot be used");
      return null;
    }
  }
}
