import type { RegisterResourceRequest } from "@pulumi/pulumi/proto/resource_pb.js";
import type { Properties } from "../types.js";
import { fromStruct } from "./structs.js";

/** What the program wants of one resource. */
export interface Goal {
  type: string;
  name: string;
  custom: boolean;
  parent: string;
  properties: Properties;
  protect: boolean;
  dependencies: string[];
  propertyDependencies: Record<string, string[]>;
  /** undefined: the provider's diff decides */
  deleteBeforeReplace: boolean | undefined;
  ignoreChanges: string[];
  replaceOnChanges: string[];
  additionalSecretOutputs: string[];
  aliases: string[];
  retainOnDelete: boolean;
  deletedWith: string;
  replaceWith: string[];
  importId: string;
  remote: boolean;
}

export function goalOf(request: RegisterResourceRequest): Goal {
  const propertyDependencies: Record<string, string[]> = {};
  request.getPropertydependenciesMap().forEach((value, key) => {
    propertyDependencies[key] = value.getUrnsList();
  });
  return {
    type: request.getType(), name: request.getName(), custom: request.getCustom(), parent: request.getParent(), properties: fromStruct(request.getObject()),
    protect: request.getProtect() ?? false, dependencies: [...new Set(request.getDependenciesList())], propertyDependencies,
    deleteBeforeReplace: request.getDeletebeforereplacedefined() ? request.getDeletebeforereplace() : undefined,
    ignoreChanges: request.getIgnorechangesList(), replaceOnChanges: request.getReplaceonchangesList(), additionalSecretOutputs: request.getAdditionalsecretoutputsList(),
    aliases: request.getAliasurnsList(), retainOnDelete: request.getRetainondelete() ?? false, deletedWith: request.getDeletedwith(), replaceWith: request.getReplaceWithList(),
    importId: request.getImportid(), remote: request.getRemote(),
  };
}
