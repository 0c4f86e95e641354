import type { NodeContext } from "../context.js";
import { pauseMs } from "../lib/backoff.js";
import { errorCode, HcError, messageOf } from "../lib/errors.js";
import { userPrefix } from "../zfs/commands.js";
import { zfsFailure } from "../zfs/errors.js";
import { unframe } from "./frames.js";
import { heldTemplates } from "./held-templates.js";
import type { Counters } from "./metrics.js";
import { receiveInto, watchIdle } from "./receive-into.js";
import { readHead } from "./wire.js";

const idleTimeoutMs = 20_000;
/** Bound of versions that are fetched on the way to one. */
const maxSteps = 64;
interface Wanted { name: string; version: string; guid: string; sources: string[] }

/**
 * Every node pulls the templates that are ready and that it lacks, one at a time, from a node that holds them with the record's guid (pulled and not pushed, because only the
 * receiver knows for sure what it lacks, and so that any holder will do when the builder is dead). guids stay equal everywhere: a template of another guid is never taken.
 */
export class TemplatePuller {
  /** Asked for by the home of a unit whose first stream waits for it: "<name>@<version>" → that home. */
  private readonly hints = new Map<string, string>();
  private readonly failures = new Map<string, { count: number; notBeforeMs: number }>();
  private held: Record<string, string> = {};
  public constructor(
    private readonly context: Pick<NodeContext, "host" | "cluster" | "zfs" | "view" | "peers" | "clock" | "log">,
    private readonly counters: Counters,
  ) {}

  public want(name: string, version: string, from: string): void {
    this.hints.set(`${name}@${version}`, from);
  }

  private wanted(): Wanted[] {
    const state = this.context.view.current();
    const me = this.context.host.node;
    return [...state.templates.values()]
      .map(({ value }) => value)
      .filter((record) => record.state === "ready" && record.guid !== "")
      .map((record) => {
        const key = `${record.name}@${record.templateVersion}`;
        const holders = [...state.observedNodes.values()].filter((node) => node.templates[key] === record.guid).map((node) => node.node);
        const hint = this.hints.get(key);
        const sources = [...new Set([record.builder, ...(hint === undefined ? [] : [hint]), ...holders])].filter((node) => node !== me);
        return { name: record.name, version: record.templateVersion, guid: record.guid, sources };
      });
  }

  /** One round; quick when nothing is missing. */
  public async round(signal: AbortSignal): Promise<void> {
    const keyOf = (item: Wanted): string => `${item.name}@${item.version}`;
    let missing = this.wanted().filter((item) => this.held[keyOf(item)] !== item.guid);
    if (missing.length === 0) return;
    this.held = await heldTemplates(this.context.zfs, this.context.cluster.dataset);
    missing = missing.filter((item) => this.held[keyOf(item)] !== item.guid);
    for (const item of missing) {
      const key = keyOf(item);
      const failed = this.failures.get(key);
      if (signal.aborted) return;
      if (failed !== undefined && failed.notBeforeMs > this.context.clock.monotonicMs()) continue;
      try {
        if (this.held[key] !== undefined) this.held = await heldTemplates(this.context.zfs, this.context.cluster.dataset, {}); // a person may have destroyed it
        if (this.held[key] === item.guid) continue;
        if (this.held[key] !== undefined) throw new HcError("DIVERGED", `The template ${key} here has guid ${this.held[key]}, the cluster's has ${item.guid}.`);
        await this.pull(item, signal);
        this.failures.delete(key);
        this.hints.delete(key);
        this.held = await heldTemplates(this.context.zfs, this.context.cluster.dataset);
        this.context.log.info({ template: key }, "template received");
      } catch (error) {
        if (signal.aborted) return;
        const count = (failed?.count ?? 0) + 1;
        this.failures.set(key, { count, notBeforeMs: this.context.clock.monotonicMs() + pauseMs(count, { firstMs: 500, capMs: 15_000 }) });
        this.context.log.warn({ template: key, err: error, failures: count }, "template not received");
      }
    }
  }

  private async pull(item: Wanted, signal: AbortSignal): Promise<void> {
    const reasons: string[] = [];
    for (const source of item.sources)
      try {
        return await this.pullFrom(source, item, signal);
      } catch (error) {
        if (signal.aborted) throw error;
        reasons.push(`${source}: ${errorCode(error) ?? ""} ${messageOf(error)}`);
      }
    throw new HcError("NOT_READY", `${item.name}@${item.version}: no node could give it (${reasons.join("; ") || "none holds it"}).`);
  }

  private async pullFrom(source: string, item: Wanted, signal: AbortSignal): Promise<void> {
    const dataset = `${this.context.cluster.dataset}/tmpl-${item.name}`;
    for (let step = 0; step < maxSteps; step += 1) {
      const snapshots = await this.context.zfs.snapshots(dataset).catch((error: unknown) => {
        if (zfsFailure(error) === "missing") return [];
        throw error;
      });
      const there = snapshots.find((snapshot) => snapshot.name === item.version);
      if (there?.guid === item.guid) return;
      if (there !== undefined) throw new HcError("DIVERGED", `${dataset}@${item.version} has guid ${there.guid}, not ${item.guid}.`);
      await this.receiveNext(source, item, dataset, snapshots.at(-1)?.guid ?? "", signal);
    }
    throw new HcError("LIMIT_EXCEEDED", `${item.name}: more than ${maxSteps} versions on the way to ${item.version}.`);
  }

  private async receiveNext(source: string, item: Wanted, dataset: string, have: string, signal: AbortSignal): Promise<void> {
    const stream = await this.context.peers.download(source, `/peer/v1/templates/${item.name}/${item.version}?have=${have}`, { idleTimeoutMs, signal });
    const endWatch = watchIdle(stream, idleTimeoutMs);
    const counts = { payloadBytes: 0 };
    try {
      const { head: raw, payload } = await unframe(stream, counts);
      const head = readHead(raw);
      if (head.unit !== `tmpl-${item.name}` || head.baseGuid !== have) throw new HcError("INVALID_INPUT", `${source} sent ${head.unit} from ${head.baseGuid}, not what was asked for.`);
      if (head.snapshot === item.version && head.guid !== item.guid) throw new HcError("DIVERGED", `${source} holds ${item.name}@${item.version} with guid ${head.guid}, the cluster's has ${item.guid}.`);
      const user = Object.fromEntries(Object.entries(head.properties).map(([name, value]) => [userPrefix + name, value]));
      await receiveInto(this.context.zfs, dataset, payload, have === "" ? { readonly: "on", canmount: "noauto", ...user } : {}, signal);
      const newest = (await this.context.zfs.snapshots(dataset)).at(-1);
      if (newest?.guid !== head.guid) throw new HcError("INTERNAL", `${dataset}@${head.snapshot} has guid ${newest?.guid ?? "none"} after the receive, not ${head.guid}.`);
    } finally {
      endWatch();
      stream.destroy();
      this.counters.add("hc_template_received_bytes_total", { peer: source }, counts.payloadBytes);
    }
  }
}
