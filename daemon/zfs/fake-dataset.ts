import { type ErrorCode, HcError } from "../lib/errors.js";
import type { ZfsFailure } from "./errors.js";
import type { FakePartial } from "./fake-stream.js";

export type Files = Map<string, string>;
export interface FakeSnapshot { name: string; guid: string; createtxg: number; atMs: number; files: Files; tags: Set<string> }
/** `partial`: of an interrupted receive; with `fresh` it is all that there is, and the dataset goes with it. */
export interface FakeDataset { guid: string; origin: string; mounted: boolean; properties: Map<string, string>; files: Files; dirty: boolean; snapshots: FakeSnapshot[]; partial?: FakePartial & { fresh: boolean } }

export function failed(code: ErrorCode, failure: ZfsFailure, message: string): HcError {
  return new HcError(code, message, { context: { zfs: failure }, ...(code === "CONFLICT" ? { retry: "never" as const } : {}) });
}
