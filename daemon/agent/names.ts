/** Where things lie (DESIGN §4). Pure. */
export const unitDataset = (dataset: string, unit: string): string => `${dataset}/${unit}`;
export const templateDataset = (dataset: string, template: string): string => `${dataset}/tmpl-${template}`;
export const trashRoot = (dataset: string): string => `${dataset}/trash`;
export const trashDataset = (dataset: string, id: string): string => `${dataset}/trash/${id}`;
const stamp = (atMs: number): string => new Date(atMs).toISOString().replace(/[-:]/g, "").replace(/\.\d+Z$/, "Z");
/** `<unit>-<UTC yyyymmddThhmmssZ>` */
export const trashId = (unit: string, atMs: number): string => `${unit}-${stamp(atMs)}`;
/** A copy that its record no longer names, on one node. */
export const surplusId = (unit: string, node: string, atMs: number): string => `${unit}-surplus-${node}-${stamp(atMs)}`;
export const isSurplus = (id: string): boolean => /-surplus-[a-z0-9-]+-\d{8}T\d{6}Z$/.test(id);
/** Unit kinds; a dataset below the root with another first word is not looked at. */
export const isUnitName = (name: string): boolean => /^site-[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name);
/** Prefix of our user properties. */
export const property = (name: string): string => `hybridcluster:${name}`;
