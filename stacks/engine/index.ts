/** The embedded engine: see DESIGN.md. */
export { runOperation } from "./operation.js";
export type { Changes, EngineEvent, OperationKind, OperationOptions, OperationResult, PlannedStep, PropertyDiff, StepOp } from "./types.js";
