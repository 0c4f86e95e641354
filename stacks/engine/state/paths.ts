import { join } from "node:path";
import { stateFolder } from "../../../providers/core/workspace.js";

export interface StackPlace {
  workspace: string;
  project: string;
  stack: string;
}

/** The CLI's DIY layout: `<folder>/.pulumi/…`, where PULUMI_BACKEND_URL is file://<folder>. */
const root = (place: StackPlace): string => join(stateFolder(place.workspace), ".pulumi");
export const metaFile = (place: StackPlace): string => join(root(place), "meta.yaml");
export const stacksFolder = (place: StackPlace): string => join(root(place), "stacks", place.project);
export const checkpointFile = (place: StackPlace): string => join(stacksFolder(place), `${place.stack}.json`);
export const backupFile = (place: StackPlace): string => `${checkpointFile(place)}.bak`;
export const lockFolder = (place: StackPlace): string => join(root(place), "locks", "organization", place.project, place.stack);
/** Only there while an operation runs, or after one was killed. */
export const journalFile = (place: StackPlace): string => join(stacksFolder(place), `${place.stack}.hc-journal`);
