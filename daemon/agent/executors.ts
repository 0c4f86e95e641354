import { executeNode } from "./execute-node.js";
import { executeTemplate } from "./execute-template.js";
import { executeTrash } from "./execute-trash.js";
import { executeUnit } from "./execute-unit.js";
import type { AgentTools } from "./tools.js";
import type { Action, Step, StepTypes } from "./steps.js";

export type Executor<A extends Action> = (tools: AgentTools, step: StepTypes[A], signal: AbortSignal) => Promise<void>;
export type Executors = { [A in Action]: Executor<A> };

/** The one table of what a step does. */
export const executors: Executors = { ...executeUnit, ...executeTrash, ...executeNode, ...executeTemplate };

export function execute(tools: AgentTools, step: Step, signal: AbortSignal): Promise<void> {
  return (executors[step.action] as Executor<Action>)(tools, step, signal);
}
