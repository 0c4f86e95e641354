import { sleepUntilTick } from "../lib/clock.js";
import type { NodeContext } from "../context.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { type CertificateRecord, keys, recordVersion } from "../lib/records.js";
import type { AcmeSpec } from "../lib/tls-spec.js";
import type { Leader } from "../membership/leader.js";
import type { Liveness } from "../membership/liveness.js";
import { precedes } from "../state/cluster-state.js";
import type { Compare } from "../state/store.js";
import { AcmeAccount } from "./acme-account.js";
import { CaError, type MakeCa, makeCa } from "./acme-ca.js";
import { issueCertificate, RecordWriter } from "./issue.js";
import { acmeNames, acmeSpecOf, attemptMs, pauseAfter, planAcme } from "./plan-acme.js";

const tickMs = 2_000;
/** Names worked at side by side; new orders at once and, in the long run, per hour (Let's Encrypt: 300 in 3 h). */
const sideBySide = 4;
const burst = 40;
const ordersPerHour = 90;
/** "rateLimited" holds all other names back for so long at most: it may have been about one name alone. */
const limitedMs = 600_000;
/** So long the nodes have to take up a challenge, ms; and so long one is kept that nobody swept. */
const spreadMs = 10_000;
const challengeMs = 3_600_000;

export interface AcmeOptions {
  context: Pick<NodeContext, "store" | "view" | "clock" | "log" | "event" | "signal" | "sealer" | "peers">;
  leader: Pick<Leader, "guard">;
  liveness: Pick<Liveness, "alive">;
  make?: MakeCa;
  random?(): number;
}

/** The leader's part: certificates by ACME for all names that sites want one for, begun, renewed and tried again as plan-acme.ts says. */
export class Acme {
  private readonly busy = new Map<string, Promise<void>>();
  private readonly account: AcmeAccount | undefined;
  private tokens = burst;
  private tokensAtMs = Number.NEGATIVE_INFINITY;
  private heldUntilMs = Number.NEGATIVE_INFINITY;
  public issued = 0;
  public failures = 0;

  public constructor(private readonly options: AcmeOptions) {
    const { context, make = makeCa } = options;
    if (context.sealer !== undefined) this.account = new AcmeAccount({ context, sealer: context.sealer, make });
  }

  public async step(): Promise<void> {
    const { context, leader } = this.options;
    const guard = leader.guard();
    if (guard === undefined || this.account === undefined) return;
    const state = context.view.current();
    if (precedes(state, guard)) return;
    const atMs = context.clock.wallMs();
    const plan = planAcme(state, atMs);
    for (const { name, revision } of plan.forget) await context.store.txn([guard, { key: keys.certificate(name), modRevision: revision }], [{ delete: keys.certificate(name) }]);
    for (const [token, { value, revision }] of state.challenges ?? []) if (Math.abs(atMs - value.atMs) > challengeMs) await context.store.txn([guard, { key: keys.challenge(token), modRevision: revision }], [{ delete: keys.challenge(token) }]);
    const spec = acmeSpecOf(state);
    if (spec === undefined || context.clock.monotonicMs() < this.heldUntilMs) return;
    for (const name of plan.start) {
      if (this.busy.size >= sideBySide) break;
      if (this.busy.has(name)) continue;
      const known = state.certificates?.get(name);
      if (known?.value.order === undefined && !this.mayOrder()) break;
      const work = this.attempt(spec, name, known?.value, known?.revision ?? "0", guard).finally(() => this.busy.delete(name));
      this.busy.set(name, work);
    }
  }

  public async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options.context;
    while (!signal.aborted) {
      await this.step().catch((error: unknown) => log.warn({ reason: messageOf(error) }, "ACME: round failed"));
      await sleepUntilTick(clock, tickMs, signal);
    }
  }
  /** What runs now has ended. What is cut off by the end of the process goes on with the next leader. */
  public async settled(): Promise<void> {
    await Promise.all(this.busy.values());
  }

  public metrics(): { name: string; labels: Record<string, string>; value: number }[] {
    return [{ name: "hc_acme_issued_total", labels: {}, value: this.issued }, { name: "hc_acme_failures_total", labels: {}, value: this.failures }];
  }

  private mayOrder(): boolean {
    const now = this.options.context.clock.monotonicMs();
    if (now > this.tokensAtMs) this.tokens = Math.min(burst, this.tokens + (Number.isFinite(this.tokensAtMs) ? ((now - this.tokensAtMs) * ordersPerHour) / 3_600_000 : 0));
    this.tokensAtMs = now;
    if (this.tokens < 1) return false;
    this.tokens -= 1;
    return true;
  }

  private async attempt(spec: AcmeSpec, name: string, known: CertificateRecord | undefined, revision: string, election: Compare): Promise<void> {
    const { context, leader, random = Math.random } = this.options;
    const account = this.account as AcmeAccount;
    const guard = (): Compare => {
      const now = leader.guard();
      if (now === undefined || now.modRevision !== election.modRevision) throw new HcError("CONFLICT", "another leads");
      return now;
    };
    const count = (known?.attempt?.count ?? 0) + 1;
    const fresh: CertificateRecord = { version: recordVersion, name, chain: "", key: "", notBeforeMs: 0, notAfterMs: 0, directory: "" };
    const writer = new RecordWriter({ guard, store: context.store }, known ?? fresh, revision);
    const site = acmeNames(context.view.current()).get(name) ?? "";
    let noted = false;
    try {
      const atMs = context.clock.wallMs();
      // whoever leads next sees that this runs, and how often it did: nothing is asked of the CA without
      await writer.write({ attempt: { count, atMs, nextMs: atMs + Math.max(attemptMs, pauseAfter(count, random())), reason: "" } });
      noted = true;
      const ca = await account.open(spec, guard);
      await issueCertificate({ context, sealer: context.sealer as NonNullable<typeof context.sealer>, ca, directory: spec.directory, guard, spread: (token) => this.spread(token) }, writer);
      this.issued += 1;
      context.log.info({ name, validUntil: new Date(writer.record.notAfterMs).toISOString() }, "certificate issued");
      context.event(`site-${site}`, "certificate-issued", `${name}: until ${new Date(writer.record.notAfterMs).toISOString().slice(0, 10)}`);
    } catch (error) {
      // nothing was ordered: a name whose record cannot be written takes no other's turn
      if (!noted && known?.order === undefined) this.tokens += 1;
      await this.failed(spec, writer, count, site, error, guard).catch((second: unknown) => context.log.warn({ name, reason: messageOf(error), second: messageOf(second) }, "certificate: the failure could not be noted"));
    }
  }

  private async failed(spec: AcmeSpec, writer: RecordWriter, count: number, site: string, error: unknown, guard: () => Compare): Promise<void> {
    const { context, random = Math.random } = this.options;
    if (errorCode(error) === "CONFLICT" || context.signal.aborted) return; // the next leader goes on
    this.failures += 1;
    const { type, retryAfterMs } = error instanceof CaError ? error : { type: "", retryAfterMs: 0 };
    const reason = messageOf(error).slice(0, 500);
    if (type === "rateLimited") this.heldUntilMs = context.clock.monotonicMs() + Math.min(limitedMs, retryAfterMs === 0 ? 60_000 : retryAfterMs);
    if (type === "accountDoesNotExist") await this.account?.forget(spec, guard);
    const atMs = context.clock.wallMs();
    const nextMs = atMs + pauseAfter(count, random(), retryAfterMs);
    await writer.write({ attempt: { count, atMs, nextMs: Math.round(nextMs), reason } }, type === "invalid" || type === "orderGone" ? ["order"] : []);
    context.log.warn({ name: writer.record.name, reason, next: new Date(nextMs).toISOString() }, "certificate: attempt failed");
    context.event(`site-${site}`, "certificate-failed", `${writer.record.name}: ${reason}`);
  }

  /** Asked of each living node: do its workers have the token? Who does not say so in time is left out: the CA may not ask there, and tries are counted. */
  private async spread(token: string): Promise<void> {
    const { context, liveness } = this.options;
    const { clock, peers, signal } = context;
    const state = context.view.current();
    const nodes = [...liveness.alive(state)].filter((node) => state.nodes.get(node)?.value.role === "node");
    const endMs = clock.monotonicMs() + spreadMs;
    await Promise.all(nodes.map(async (node) => {
      while (clock.monotonicMs() < endMs && !signal.aborted) {
        const answer = await peers.call<{ known: boolean }>(node, "GET", `/peer/v1/acme-challenges/${token}`, undefined, { timeoutMs: 2_000, signal }).catch(() => ({ known: false }));
        if (answer.known) return;
        await clock.sleep(100, signal).catch(() => undefined);
      }
      context.log.warn({ node }, "certificate: a node has not taken up the challenge");
    }));
  }
}
