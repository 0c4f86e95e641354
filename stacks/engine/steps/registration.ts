import { randomUUID } from "node:crypto";
import type { Goal } from "../process/goal.js";
import { type Registered, Stopping } from "../process/monitor.js";
import type { Properties, ResourceRecord } from "../types.js";
import { defaultProviderUrn, makeUrn, providerType, rootType, stackUrn } from "../urn.js";
import { remarkProperties, same, unwrap } from "../values.js";
import { type Entry, type PassContext, plannedStep } from "./context.js";
import { decide, type Decision } from "./decide.js";
import type { Deletion } from "./deletes.js";
import { create, update } from "./execute.js";
import type { Olds } from "./olds.js";
import { propertyDiff, updateDiff, withIgnored } from "./property-diff.js";
import { deleteFirst, mustGoWith } from "./replace-first.js";

const dynamicPrefix = "pulumi-nodejs:dynamic/";

/** The record that a goal makes, over what the state already says about the resource. */
function recordOf(urn: string, goal: Goal, inputs: Properties, old: ResourceRecord | undefined, stack: string): ResourceRecord {
  const { delete: _delete, protect: _protect, parent: _parent, dependencies: _deps, propertyDependencies: _props, additionalSecretOutputs: _secret, aliases: _aliases, retainOnDelete: _retain, deletedWith: _with, replaceWith: _replace, ignoreChanges: _ignore, replaceOnChanges: _on, ...kept } = old ?? ({} as ResourceRecord);
  const parent = goal.parent !== "" ? goal.parent : goal.type === rootType ? "" : stack;
  return {
    ...kept, urn, custom: goal.custom, type: goal.type, inputs,
    ...(parent !== "" && { parent }), ...(goal.protect && { protect: true }), ...(goal.dependencies.length > 0 && { dependencies: goal.dependencies }),
    ...(Object.keys(goal.propertyDependencies).length > 0 && { propertyDependencies: goal.propertyDependencies }),
    ...(goal.additionalSecretOutputs.length > 0 && { additionalSecretOutputs: goal.additionalSecretOutputs }), ...(goal.aliases.length > 0 && { aliases: goal.aliases }),
    ...(goal.retainOnDelete && { retainOnDelete: true }), ...(goal.deletedWith !== "" && { deletedWith: goal.deletedWith }), ...(goal.replaceWith.length > 0 && { replaceWith: goal.replaceWith }),
    ...(goal.ignoreChanges.length > 0 && { ignoreChanges: goal.ignoreChanges }), ...(goal.replaceOnChanges.length > 0 && { replaceOnChanges: goal.replaceOnChanges }),
  };
}

const equalRecords = (a: ResourceRecord, b: ResourceRecord): boolean => same(JSON.parse(JSON.stringify(a)) as Properties, JSON.parse(JSON.stringify(b)) as Properties);

/** Turns the program's registrations into steps. */
export class Registrar {
  /** what this pass has made or kept, by URN */
  public readonly news = new Map<string, Entry>();
  /** replaced in this pass; deleted when the program is done */
  public readonly replaced: Deletion[] = [];
  private readonly begun = new Set<string>();
  private readonly replacing = new Set<string>();
  private providerRef: Promise<string> | undefined;
  public constructor(private readonly context: PassContext, private readonly olds: Olds, private readonly unfinished: ReadonlyMap<string, string>) {}

  private readonly running = new Set<Promise<unknown>>();
  /** Steps go on for a while after their program has ended. */
  public async settled(): Promise<void> {
    while (this.running.size > 0) await Promise.allSettled([...this.running]);
  }

  public register(goal: Goal): Promise<Registered> {
    const running = this.registerOne(goal);
    this.running.add(running);
    const over = (): void => {
      this.running.delete(running);
    };
    running.then(over, over);
    return running;
  }

  private async registerOne(goal: Goal): Promise<Registered> {
    const { context } = this;
    const { stack, project } = context.options;
    if (context.stopped) throw new Stopping("The operation is being stopped.");
    const urn = makeUrn(stack, project, goal.type, goal.name, goal.parent);
    if (this.begun.has(urn)) throw context.fail(urn, `two resources have the type ${goal.type} and the name ${goal.name}; give one of them another name`);
    this.begun.add(urn);
    if (goal.remote || (goal.custom && !goal.type.startsWith(dynamicPrefix))) throw context.fail(urn, `resources of type ${goal.type} need the pulumi CLI; the embedded engine knows dynamic resources and components`);
    if (goal.importId !== "") throw context.fail(urn, "`import` does not work with dynamic resources; use the input `adopt`");
    const old = await this.olds.take(urn, goal.aliases, context);
    return goal.custom ? this.custom(urn, goal, old) : this.component(urn, goal, old);
  }

  private keep(urn: string, key: string, record: ResourceRecord): void {
    this.news.set(urn, { key, record });
  }
  private async putIfChanged(old: Entry | undefined, record: ResourceRecord, key: string): Promise<void> {
    this.keep(record.urn, key, record);
    if (old !== undefined && equalRecords(old.record, record)) return;
    this.context.dirty = true;
    const time = this.context.timestamp();
    const stamped = { ...record, created: record.created ?? time, modified: time };
    this.keep(record.urn, key, stamped);
    if (!this.context.preview) await this.context.store.put(key, stamped);
  }

  private async component(urn: string, goal: Goal, old: Entry | undefined): Promise<Registered> {
    const record = recordOf(urn, goal, goal.properties, old?.record, stackUrn(this.context.options.stack, this.context.options.project));
    const diff = old === undefined ? [] : propertyDiff(old.record.inputs ?? {}, goal.properties);
    const op = old === undefined ? "create" : diff.length > 0 ? "update" : "same";
    await this.context.step(plannedStep(urn, op, { diff, ...(record.parent !== undefined && { parent: record.parent }) }), async () => {
      await this.putIfChanged(old, { ...record, outputs: old?.record.outputs ?? {} }, old?.key ?? this.context.store.newKey());
    });
    return { urn, id: "", outputs: {}, propertyDependencies: {} };
  }

  /** The provider resource that the CLI makes for all dynamic resources; its inputs are the stack's whole configuration. */
  private defaultProvider(): Promise<string> {
    this.providerRef ??= (async () => {
      const { options, store, config } = this.context;
      const urn = defaultProviderUrn(options.stack, options.project);
      const old = await this.olds.take(urn, [], this.context);
      const id = old?.record.id ?? randomUUID();
      const inputs = remarkProperties(config, Object.fromEntries([...this.secretKeys].map((key) => [key, config[key] ?? ""])));
      await this.putIfChanged(old, { ...(old?.record ?? { urn, custom: true, type: providerType }), id, inputs, outputs: inputs }, old?.key ?? store.newKey());
      return `${urn}::${id}`;
    })();
    return this.providerRef;
  }
  public secretKeys: readonly string[] = [];

  private async custom(urn: string, goal: Goal, old: Entry | undefined): Promise<Registered> {
    const { context } = this;
    const providerRef = await this.defaultProvider();
    const wanted = old === undefined ? goal.properties : withIgnored(old.record.inputs ?? {}, goal.properties, goal.ignoreChanges);
    let looked: { decision: Decision; inputs: Properties };
    try {
      looked = await context.looks.run(() => this.look(urn, goal, wanted, old));
    } catch (error) {
      throw error instanceof Stopping ? error : context.fail(urn, (error as Error).message);
    }
    const { decision, inputs } = looked;
    if (context.stopped) throw new Stopping("The operation is being stopped.");
    const record: ResourceRecord = { ...recordOf(urn, goal, inputs, old?.record, stackUrn(context.options.stack, context.options.project)), provider: providerRef };
    const note = this.noteOf(urn, old, decision);
    const step = plannedStep(urn, decision.op, { diff: decision.diff, ...(record.parent !== undefined && { parent: record.parent }), newInputs: unwrap(inputs), ...(old?.record.inputs && { oldInputs: unwrap(old.record.inputs) }), ...(note !== undefined && { note }) });
    if (decision.op === "same") await context.step(step, () => this.putIfChanged(old, record, old?.key ?? ""));
    else if (context.preview) await context.step(step, () => this.previewed(decision, record, old));
    else await context.mutations.run(() => {
      if (context.stopped) throw new Stopping("The operation is being stopped.");
      return context.step(step, () => this.apply(decision, record, old));
    });
    const made = this.news.get(urn)?.record ?? record;
    const known = decision.op === "same" || !context.preview;
    const id = decision.op === "same" || decision.op === "update" || !context.preview ? (made.id ?? "") : "";
    return { urn, id, outputs: known ? (made.outputs ?? {}) : inputs, propertyDependencies: goal.propertyDependencies };
  }

  private noteOf(urn: string, old: Entry | undefined, decision: Decision): string | undefined {
    const begun = this.unfinished.get(urn);
    if (begun === "creating" && decision.op === "create") return "its creation was cut off; it is taken up again";
    if (begun === "updating" && decision.op === "update") return "its update was cut off; it is taken up again";
    if (decision.op === "update" && (old?.record.initErrors?.length ?? 0) > 0) return "it was left half-made; it is repaired";
    return undefined;
  }

  /** check and diff. */
  private async look(urn: string, goal: Goal, wanted: Properties, old: Entry | undefined): Promise<{ decision: Decision; inputs: Properties }> {
    const provider = await this.context.provider();
    const checked = async (olds: Properties): Promise<Properties> => {
      const { inputs, failures } = await provider.check(urn, unwrap(olds), unwrap(wanted));
      if (failures.length > 0) throw new Error(failures.map((failure) => (failure.property === "" ? failure.reason : `${failure.property}: ${failure.reason}`)).join("; "));
      return remarkProperties(inputs, wanted);
    };
    const inputs = await checked(old?.record.inputs ?? {});
    if (old === undefined) return { decision: { op: "create", deleteFirst: false, alreadyDeleted: false, diff: propertyDiff({}, inputs) }, inputs };
    const { record } = old;
    const answer = await provider.diff(urn, record.id ?? "", unwrap(record.inputs ?? {}), unwrap(record.outputs ?? {}), unwrap(inputs), goal.ignoreChanges);
    const decision = decide(answer, {
      pendingReplacement: record.pendingReplacement === true, needsRepair: (record.initErrors?.length ?? 0) > 0 || this.unfinished.get(urn) === "updating",
      forcedReplace: goal.replaceWith.some((other) => this.replacing.has(other)), replaceOnChanges: goal.replaceOnChanges, deleteBeforeReplace: goal.deleteBeforeReplace,
    }, (replaces) => updateDiff(record, inputs, replaces));
    if (decision.op !== "replace") return { decision, inputs };
    this.replacing.add(urn);
    if (record.protect === true && !decision.alreadyDeleted) throw new Error("it is protected, and the change would replace it; set `protect: false` (and run `up`) first");
    return { decision, inputs: await checked({}) };
  }

  private async previewed(decision: Decision, record: ResourceRecord, old: Entry | undefined): Promise<void> {
    this.keep(record.urn, old?.key ?? "", record);
    if (decision.op !== "replace" || old === undefined || decision.alreadyDeleted) return;
    if (decision.deleteFirst) await deleteFirst(await mustGoWith(old, this.olds, await this.context.provider()), this.context);
    else this.replaced.push({ ...old, replaced: true });
  }

  private async apply(decision: Decision, record: ResourceRecord, old: Entry | undefined): Promise<void> {
    const { context } = this;
    const { store } = context;
    const fresh = (({ id: _id, outputs: _outputs, created: _created, modified: _modified, initErrors: _errors, pendingReplacement: _pending, ...rest }: ResourceRecord): ResourceRecord => rest as ResourceRecord)(record);
    const key = old === undefined || (decision.op === "replace" && !decision.deleteFirst) ? store.newKey() : old.key;
    if (decision.op === "update" && old !== undefined) return this.keep(record.urn, key, await update(old, record, context));
    if (decision.op === "replace" && old !== undefined && decision.deleteFirst && !decision.alreadyDeleted) await deleteFirst(await mustGoWith(old, this.olds, await context.provider()), context);
    const before = decision.op === "replace" && !decision.deleteFirst ? old : undefined;
    this.keep(record.urn, key, await create(fresh, key, context, before));
    if (before !== undefined) this.replaced.push({ key: before.key, record: { ...before.record, delete: true }, replaced: true });
  }

  /** Components and the stack tell their outputs at their end. */
  public async outputs(urn: string, outputs: Properties): Promise<void> {
    const entry = this.news.get(urn);
    if (entry === undefined) throw new Error(`${urn} tells outputs, but was never registered`);
    await this.putIfChanged(entry, { ...entry.record, outputs }, entry.key);
  }
}
