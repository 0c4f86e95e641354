import { createHash, generateKeyPairSync } from "node:crypto";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { type AcmeAccountRecord, keys, recordVersion } from "../lib/records.js";
import type { Sealer } from "../lib/sealed.js";
import type { AcmeSpec } from "../lib/tls-spec.js";
import type { Compare } from "../state/store.js";
import type { AcmeCa, MakeCa } from "./acme-ca.js";
import { accountKeyPlace } from "./sealing.js";

/** A new ECDSA P-256 key, PEM (PKCS #8). */
export const newKey = (): string => generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const idOf = (directory: string): string => createHash("sha256").update(directory).digest("hex").slice(0, 16);

/** The cluster's account at its CA: the key is kept before the CA hears of it, so that whoever leads has the same account (RFC 8555 §7.3.1). */
export class AcmeAccount {
  private opened: { text: string; ca: Promise<AcmeCa> } | undefined;
  /** One at a time: all names wait for the same account. */
  private turn: Promise<unknown> = Promise.resolve();

  public constructor(private readonly options: { context: Pick<NodeContext, "store" | "log">; sealer: Sealer; make: MakeCa }) {}

  /** Ready to be asked. Throws CaError, and CONFLICT when another leads by now. */
  public open(spec: AcmeSpec, guard: () => Compare): Promise<AcmeCa> {
    const next = this.turn.catch(() => undefined).then(() => this.ensure(spec, guard));
    this.turn = next.catch(() => undefined);
    return next;
  }

  /** The CA does not know it any more: it is registered anew, with the same key, at the next attempt. */
  public async forget(spec: AcmeSpec, guard: () => Compare): Promise<void> {
    this.opened = undefined;
    const key = keys.acmeAccount(idOf(spec.directory));
    const found = await this.options.context.store.get(key);
    if (found !== undefined) await this.put(key, found.modRevision, { ...(JSON.parse(found.value) as AcmeAccountRecord), url: "" }, guard);
  }

  private async ensure(spec: AcmeSpec, guard: () => Compare): Promise<AcmeCa> {
    const { context, sealer, make } = this.options;
    const text = JSON.stringify(spec);
    if (this.opened?.text === text) return this.opened.ca;
    const id = idOf(spec.directory);
    const key = keys.acmeAccount(id);
    let found = await context.store.get(key);
    if (found === undefined) {
      await this.put(key, "0", { version: recordVersion, directory: spec.directory, email: spec.email, key: sealer.seal(accountKeyPlace(id), newKey()), url: "" }, guard);
      found = await context.store.get(key);
    }
    if (found === undefined) throw new HcError("CONFLICT", "the account's record is gone");
    const record = JSON.parse(found.value) as AcmeAccountRecord;
    const secret = sealer.open(accountKeyPlace(id), record.key);
    // another address for mail is told by registering again (RFC 8555 §7.3.2)
    const ca = await make(spec, secret, record.email === spec.email ? record.url : "");
    if (record.url === "" || record.email !== spec.email) {
      const url = await ca.register();
      await this.put(key, found.modRevision, { ...record, email: spec.email, url }, guard);
      context.log.info({ directory: spec.directory }, "account at the CA registered");
    }
    this.opened = { text, ca: Promise.resolve(ca) };
    return ca;
  }

  private async put(key: string, modRevision: string, record: AcmeAccountRecord, guard: () => Compare): Promise<void> {
    const { succeeded } = await this.options.context.store.txn([guard(), { key, modRevision }], [{ put: key, value: JSON.stringify(record) }]);
    if (!succeeded) throw new HcError("CONFLICT", "the account's record was changed by somebody else");
  }
}
