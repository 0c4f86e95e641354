import type { NodeContext } from "../context.js";
import { pauseMs } from "../lib/backoff.js";
import { HcError } from "../lib/errors.js";
import { type CertificateRecord, keys, recordVersion } from "../lib/records.js";
import { failuresText } from "../lib/schema.js";
import type { Sealer } from "../lib/sealed.js";
import { certificateFailures, chainFacts, coversName } from "../lib/x509.js";
import type { Compare } from "../state/store.js";
import { newKey } from "./acme-account.js";
import { type AcmeCa, CaError, type OrderState } from "./acme-ca.js";
import { attemptMs, renewAtMs } from "./plan-acme.js";
import { orderKeyPlace, recordKeyPlace } from "./sealing.js";

export interface IssueContext {
  context: Pick<NodeContext, "store" | "clock" | "signal">;
  sealer: Sealer;
  ca: AcmeCa;
  directory: string;
  /** The own election; throws when another leads. */
  guard(): Compare;
  /** Settles when every node answers this token, as far as they can be asked. */
  spread(token: string): Promise<void>;
}

/** The record of one name as it is kept, and written: compare-and-swap, guarded by the election. */
export class RecordWriter {
  public constructor(private readonly options: Pick<IssueContext, "guard"> & { store: NodeContext["store"] }, public record: CertificateRecord, private revision: string) {}

  /** Throws CONFLICT when another leads, or has written meanwhile: nothing may be asked of the CA then. */
  public async write(change: Partial<CertificateRecord>, drop: ("order" | "attempt")[] = []): Promise<void> {
    const next = { ...this.record, ...change, version: recordVersion };
    for (const name of drop) delete next[name];
    const key = keys.certificate(next.name);
    const { succeeded, revision } = await this.options.store.txn([this.options.guard(), { key, modRevision: this.revision }], [{ put: key, value: JSON.stringify(next) }]);
    if (!succeeded) throw new HcError("CONFLICT", `certificate ${next.name}: another leads, or has written meanwhile`);
    this.record = next;
    this.revision = revision;
  }
}

/** Looks until it is no more `while`; the order is forgotten by the caller when it is invalid. */
async function wait({ context, ca }: IssueContext, url: string, during: readonly OrderState["status"][], endMs: number): Promise<OrderState> {
  for (let attempt = 1; ; attempt += 1) {
    const seen = await ca.look(url);
    if (seen === undefined) throw new CaError("the CA does not know its own order any more", "orderGone");
    if (seen.status === "invalid") throw new CaError(seen.problem === "" ? "the CA refused the order and gave no reason" : seen.problem, "invalid");
    if (!during.includes(seen.status)) return seen;
    if (context.clock.monotonicMs() > endMs) throw new CaError(`the CA's order is still ${seen.status}`);
    await context.clock.sleep(pauseMs(attempt, { firstMs: 250, capMs: 5_000 }), context.signal);
  }
}

/** `tokens`: those that lie in etcd then, to be swept. */
async function prove(issue: IssueContext, name: string, url: string, tokens: string[]): Promise<void> {
  const { context, ca, guard } = issue;
  const challenges = await ca.challenges(url);
  for (const { token, answer } of challenges) {
    const { succeeded } = await context.store.txn([guard()], [{ put: keys.challenge(token), value: JSON.stringify({ version: recordVersion, name, answer, atMs: context.clock.wallMs() }) }]);
    if (!succeeded) throw new HcError("CONFLICT", "another leads");
    tokens.push(token);
  }
  await Promise.all(challenges.map(({ token }) => issue.spread(token)));
  for (const { ready } of challenges) await ready();
}

/**
 * One certificate for one name, from wherever the attempt before ended. Each step looks at the CA first; before it is asked to sign, the order and the sealed key are in the record. Throws CaError with the CA's words, CONFLICT when
 * another leads. The order of a CaError "invalid" or "orderGone" is out of the record.
 */
export async function issueCertificate(issue: IssueContext, writer: RecordWriter): Promise<void> {
  const { context, sealer, ca, directory } = issue;
  const { name } = writer.record;
  const endMs = context.clock.monotonicMs() + attemptMs;
  const tokens: string[] = [];
  try {
    let state = writer.record.order?.directory === directory ? await ca.look(writer.record.order.url) : undefined;
    if (state === undefined || state.status === "invalid") {
      state = await ca.begin(name);
      await writer.write({ order: { url: state.url, key: sealer.seal(orderKeyPlace(name), newKey()), directory } });
    }
    const { url, key: sealed } = writer.record.order as NonNullable<CertificateRecord["order"]>;
    const key = sealer.open(orderKeyPlace(name), sealed);
    if (state.status === "pending") {
      await prove(issue, name, url, tokens);
      state = await wait(issue, url, ["pending"], endMs);
    }
    if (state.status === "ready") {
      await ca.finalize(url, name, key);
      state = await wait(issue, url, ["ready", "processing"], endMs);
    }
    if (state.status === "processing") state = await wait(issue, url, ["processing"], endMs);
    const chain = await ca.download(url);
    const nowMs = context.clock.wallMs();
    const facts = chainFacts(chain);
    const failures = certificateFailures({ chain, key }, nowMs);
    if (facts === undefined || failures.length > 0) throw new CaError(`what the CA gave cannot be used (${failuresText(failures)}); is this node's clock right?`, "invalid");
    // else it would be ordered again at once, and again
    if (nowMs >= renewAtMs({ name, ...facts })) throw new CaError(`what the CA gave is due for renewal at once (${new Date(facts.notBeforeMs).toISOString()} to ${new Date(facts.notAfterMs).toISOString()}); is this node's clock right?`, "invalid");
    if (!coversName(facts.names, name)) throw new CaError(`the CA gave a certificate for ${facts.names.slice(0, 5).join(", ")}`, "invalid");
    await writer.write({ chain, key: sealer.seal(recordKeyPlace(name), key), notBeforeMs: facts.notBeforeMs, notAfterMs: facts.notAfterMs, directory }, ["order", "attempt"]);
  } finally {
    if (tokens.length > 0) await context.store.txn([], tokens.map((token) => ({ delete: keys.challenge(token) }))).catch(() => undefined); // the leader sweeps what stays
  }
}
