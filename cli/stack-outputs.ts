import { workspaceDir } from "../providers/core/workspace.js";
import { stackOutputs as read } from "../stacks/engine/state-reader.js";
import type { Project } from "./project.js";

/** Outputs of the program's stack, as the last `up` left them. */
export const stackOutputs = (project: Project, stack: string): Record<string, unknown> => read(workspaceDir(project.root), project.root, project.name, stack);
