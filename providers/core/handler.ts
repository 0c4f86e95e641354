import type { Failure } from "../../daemon/lib/schema.js";

export type Properties = Record<string, unknown>;
export interface CheckResult<I = Properties> { inputs: I; failures: Failure[] }
export interface DiffResult { changes: boolean; replaces?: string[]; deleteBeforeReplace?: boolean }

/** What runs behind a trampoline: PULUMI's dynamic provider methods, with types of the resource's own. Inputs are echoed in outputs. */
export interface Handler<I, O> {
  check(olds: Partial<I>, news: I): Promise<CheckResult<I>>;
  diff(id: string, olds: O, news: I): Promise<DiffResult>;
  /** Idempotent by an ownership mark. */
  create(inputs: I): Promise<{ id: string; outs: O }>;
  /** Converges from any half-made state. */
  update(id: string, olds: O, news: I): Promise<{ outs: O }>;
  /** Empty id = it is gone. */
  read(id: string, props: O): Promise<{ id: string; props: O }>;
  /** What does not exist, or lies on a machine that is declared dead, is success. */
  delete(id: string, props: O): Promise<void>;
}

/** Outputs carry it; a handler reads what older versions of it wrote. */
export const schemaVersion = 1;
