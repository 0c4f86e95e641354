import type { ResourceRecord } from "../types.js";
import { needs } from "../state/order.js";
import type { Entry, PassContext } from "./context.js";

/** The resources of the state that this pass starts from. */
export class Olds {
  private readonly living = new Map<string, Entry>();
  /** replaced ones of an earlier run that still wait for their deletion */
  public readonly waiting: Entry[] = [];
  private readonly taken = new Set<Entry>();

  public constructor(entries: readonly [string, ResourceRecord][]) {
    for (const [key, record] of entries) {
      if (record.delete === true) this.waiting.push({ key, record });
      else this.living.set(record.urn, { key, record });
    }
  }

  public get(urn: string): Entry | undefined {
    return this.living.get(urn);
  }

  /** The old resource of `urn`, also under one of its former names; each is found once. */
  public async take(urn: string, aliases: readonly string[], context: PassContext): Promise<Entry | undefined> {
    for (const name of [urn, ...aliases]) {
      const entry = this.living.get(name);
      if (entry === undefined || this.taken.has(entry)) continue;
      if (name !== urn) await this.rename(entry, urn, context);
      this.taken.add(entry);
      return entry;
    }
    return undefined;
  }

  /** All who refer to the former name get the new one, so that the state never has a dangling reference. */
  private async rename(entry: Entry, to: string, context: PassContext): Promise<void> {
    const from = entry.record.urn;
    this.living.delete(from);
    this.living.set(to, entry);
    context.dirty = true;
    const swap = (urn: string): string => (urn === from ? to : urn);
    for (const other of [...this.living.values(), ...this.waiting]) {
      if (other !== entry && !needs(other.record).includes(from)) continue;
      const { parent, provider, dependencies, propertyDependencies, deletedWith } = other.record;
      other.record = {
        ...other.record, urn: other === entry ? to : other.record.urn, ...(parent !== undefined && { parent: swap(parent) }), ...(deletedWith !== undefined && { deletedWith: swap(deletedWith) }),
        ...(provider !== undefined && { provider: provider.startsWith(`${from}::`) ? to + provider.slice(from.length) : provider }),
        ...(dependencies && { dependencies: dependencies.map(swap) }), ...(propertyDependencies && { propertyDependencies: Object.fromEntries(Object.entries(propertyDependencies).map(([key, urns]) => [key, urns.map(swap)])) }),
      };
      if (!context.preview) await context.store.put(other.key, other.record);
    }
  }

  /** Those whose program did not name them. */
  public untaken(): Entry[] {
    return [...this.living.values()].filter((entry) => !this.taken.has(entry));
  }
  public isTaken(entry: Entry): boolean {
    return this.taken.has(entry);
  }
  public all(): Entry[] {
    return [...this.living.values()];
  }
}
