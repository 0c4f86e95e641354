/** urn:pulumi:<stack>::<project>::<parent types $ type>::<name> (Pulumi's documentation, "Resource names"). */
export interface Urn {
  stack: string;
  project: string;
  /** with the types of the parents, separated by `$` */
  qualifiedType: string;
  type: string;
  name: string;
}

export const rootType = "pulumi:pulumi:Stack";
export const providerType = "pulumi:providers:pulumi-nodejs";

export function makeUrn(stack: string, project: string, type: string, name: string, parent?: string): string {
  const above = parent === undefined || parent === "" ? "" : parseUrn(parent).qualifiedType;
  const qualified = above === "" || above === rootType ? type : `${above}$${type}`;
  return `urn:pulumi:${stack}::${project}::${qualified}::${name}`;
}

export function parseUrn(urn: string): Urn {
  const [head = "", project = "", qualifiedType = "", ...rest] = urn.split("::");
  return { stack: head.replace(/^urn:pulumi:/, ""), project, qualifiedType, type: qualifiedType.split("$").at(-1) ?? "", name: rest.join("::") };
}

export const stackUrn = (stack: string, project: string): string => makeUrn(stack, project, rootType, `${project}-${stack}`);
export const defaultProviderUrn = (stack: string, project: string): string => makeUrn(stack, project, providerType, "default");
/** Stack and default provider are part of each deployment and counted nowhere. */
export const isInternal = (type: string): boolean => type === providerType;
