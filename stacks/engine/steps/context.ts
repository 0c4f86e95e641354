import { messageOf } from "../../../daemon/lib/errors.js";
import { Stopping } from "../process/monitor.js";
import type { ProviderProcess } from "../process/provider.js";
import { Semaphore } from "../process/semaphore.js";
import type { StateStore } from "../state/store.js";
import type { Changes, EngineEvent, OperationOptions, PlannedStep, PropertyDiff, ResourceRecord, StepOp } from "../types.js";
import { isInternal, parseUrn } from "../urn.js";

export interface Entry {
  key: string;
  record: ResourceRecord;
}

export const noChanges = (): Changes => ({ create: 0, update: 0, replace: 0, delete: 0, same: 0 });
/** check and diff at a time; the provider process has one thread, so this only hides the way there and back */
const looksAtATime = 32;

/** What one pass (preview or the real one) knows and shares between its steps. */
export class PassContext {
  public readonly plan: PlannedStep[] = [];
  public readonly changes = noChanges();
  public readonly diagnostics: string[] = [];
  public failed = false;
  /** something would be written: steps, or only dependencies and outputs */
  public dirty = false;
  /** no further step starts */
  private halted = false;
  public readonly mutations: Semaphore;
  public readonly looks = new Semaphore(looksAtATime);
  public constructor(
    public readonly options: OperationOptions, public readonly preview: boolean, public readonly store: StateStore, public readonly provider: () => Promise<ProviderProcess>,
    public readonly config: Record<string, string>, parallel: number, private readonly emit: (event: EngineEvent) => void, private readonly now: () => Date,
  ) {
    this.mutations = new Semaphore(parallel);
  }

  public get stopped(): boolean {
    return this.halted || this.options.signal?.aborted === true;
  }
  public get cancelled(): boolean {
    return this.options.signal?.aborted === true;
  }
  public timestamp(): string {
    return this.now().toISOString();
  }

  /** Records a failure; in a preview the others are still looked at, so that all faults are told at once. */
  public fail(urn: string, message: string): Stopping {
    const { type, name } = parseUrn(urn);
    this.failed = true;
    this.halted ||= !this.preview;
    this.diagnostics.push(urn === "" ? message : `${type} ${name}: ${message}`);
    this.message("error", message, urn);
    return new Stopping(message);
  }
  public message(severity: "info" | "warning" | "error", text: string, urn = "", from: "engine" | "program" | "provider" = "engine"): void {
    this.emit({ type: "message", severity, from, text, ...(urn !== "" && { urn }), atMs: this.now().getTime() });
  }
  public event(event: EngineEvent): void {
    this.emit(event);
  }

  /** Plans a step; in the real pass also runs it. */
  public async step<T>(step: PlannedStep, act: () => Promise<T>): Promise<T> {
    if (step.op !== "same") this.dirty = true;
    const { oldInputs: _old, newInputs: _new, ...shown } = step;
    const startedMs = this.now().getTime();
    if (!isInternal(step.type)) {
      this.plan.push(step);
      this.emit({ type: "step-start", step: shown, preview: this.preview, atMs: startedMs });
    }
    const ended = (ok: boolean, error?: string): void => {
      const atMs = this.now().getTime();
      if (!isInternal(step.type)) this.emit({ type: "step-end", step: shown, preview: this.preview, ok, ...(error !== undefined && { error }), durationMs: atMs - startedMs, atMs });
    };
    try {
      const result = await act();
      if (!isInternal(step.type) && step.op in this.changes) this.changes[step.op as keyof Changes] += 1;
      ended(true);
      return result;
    } catch (error) {
      ended(false, messageOf(error));
      throw error instanceof Stopping ? error : this.fail(step.urn, messageOf(error));
    }
  }
}

export function plannedStep(urn: string, op: StepOp, more: { diff?: PropertyDiff[]; parent?: string; note?: string } & Pick<PlannedStep, "oldInputs" | "newInputs"> = {}): PlannedStep {
  const { type, name } = parseUrn(urn);
  const { parent, note, oldInputs, newInputs } = more;
  return { urn, type, name, op, diff: more.diff ?? [], ...(parent !== undefined && { parent }), ...(note !== undefined && { note }), ...(oldInputs && { oldInputs }), ...(newInputs && { newInputs }) };
}
