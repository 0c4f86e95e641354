import type { NodeContext } from "../context.js";
import { errorCode, HcError } from "../lib/errors.js";
import type { UnitRecord } from "../lib/records.js";
import { userPrefix } from "../zfs/commands.js";
import { zfsFailure } from "../zfs/errors.js";
import type { Dataset } from "../zfs/zfs.js";
import { keepsOut, type Seal } from "./seal.js";
import { ensureStash, stashId, stashProperty, stashRoot } from "./stash.js";

/** A stream that was cut, of which zfs keeps what came (`receive -s`): of this snapshot, from this owner. `dataset`: where it lies. */
export interface Partial extends Seal { guid: string; dataset: string; token: string }
export type PartialsContext = Pick<NodeContext, "host" | "cluster" | "zfs" | "view" | "clock" | "log" | "event">;

/** Where first streams arrive until they are whole: nobody takes half a copy for a copy. */
export const incomingRoot = (root: string): string => `${root}/incoming`;
const property = `${userPrefix}partial`;
/** Whose stream it is, written to the dataset before the first byte. */
const text = ({ epoch, generation }: Seal, guid: string): string => `${epoch}.${generation}.${guid}`;
function parse(value: string | undefined): (Seal & { guid: string }) | undefined {
  const [, epoch, generation, guid] = /^([0-9]{1,15})\.([0-9]{1,15})\.([0-9]{1,20})$/.exec(value ?? "") ?? [];
  return guid === undefined ? undefined : { epoch: Number(epoch), generation: Number(generation), guid };
}

/**
 * The interrupted receives of this node, where its zfs can keep them; elsewhere nothing is ever here. Only this process makes them, so after `recover` memory is the truth and a stream that goes well costs no
 * command. The caller has the unit for itself. Invariants: one is continued only by its own home at its own epoch, never past a seal; whatever else comes for the unit gives it up first.
 */
export class Partials {
  private readonly book = new Map<string, Partial>();
  private usable = false;
  public constructor(private readonly context: PartialsContext) {}

  /** May streams be received in parts here? */
  public get isOn(): boolean {
    return this.usable;
  }
  public of(unit: string): Partial | undefined {
    return this.book.get(unit);
  }
  private name(unit: string): string {
    return `${this.context.cluster.dataset}/${unit}`;
  }
  private incoming(unit: string): string {
    return `${incomingRoot(this.context.cluster.dataset)}/${unit}`;
  }

  /** After a start: what the disk keeps. What nobody can tell of, or lies elsewhere by now (the trash), is given up. */
  public async recover(all: readonly Dataset[]): Promise<void> {
    const { zfs, cluster } = this.context;
    this.usable = await zfs.resumable();
    if (!this.usable) return;
    const tokens = await zfs.partials(cluster.dataset);
    for (const { name, user } of all) {
      const token = tokens.get(name);
      const unit = name.slice(name.lastIndexOf("/") + 1);
      const whose = parse(user["partial"]);
      if (token === undefined) {
        // whole, and the crash came before its name; one that cannot have it now (a full pool) is tried again when the next stream comes, and keeps no node from its start
        if (name === this.incoming(unit)) await this.arrive(unit).catch((err: unknown) => this.context.log.warn({ unit, err }, "a copy that had arrived whole stays where it is for now"));
      } else if (whose !== undefined && (name === this.name(unit) || name === this.incoming(unit))) this.book.set(unit, { ...whose, dataset: name, token });
      // one that cannot be given up now belongs to no owner, and goes with the next sweep or before the next stream
      else await zfs.abortReceive(name).catch((err: unknown) => {
        this.book.set(unit, { epoch: 0, generation: 0, guid: "0", dataset: name, token });
        this.context.log.warn({ unit, dataset: name, err }, "what is kept of a cut stream could not be given up; tried again");
      });
    }
  }

  /** The one that may be continued by this owner. */
  public fitting(unit: string, owner: Seal, seal: Seal | undefined): Partial | undefined {
    const partial = this.book.get(unit);
    return partial !== undefined && partial.epoch === owner.epoch && partial.generation <= owner.generation && !keepsOut(seal, partial) ? partial : undefined;
  }

  /** One stream that can be continued later: `act` receives it into the dataset that it is told, with these properties more. `partial`: what it continues. A first stream gets the unit's name when it is whole. */
  public async receive(stream: { unit: string; guid: string; owner: Seal; isFirst: boolean; partial: Partial | undefined }, act: (dataset: string, properties: Record<string, string>) => Promise<void>): Promise<void> {
    const { unit, guid, owner, isFirst, partial } = stream;
    const dataset = isFirst ? this.incoming(unit) : this.name(unit);
    const whose = { [property]: text(owner, guid) };
    if (partial === undefined && isFirst) await this.makeRoom(unit);
    if (partial === undefined && !isFirst) await this.context.zfs.set(dataset, whose);
    try {
      await act(dataset, partial === undefined && isFirst ? whose : {});
    } catch (error) {
      await this.broke(stream, dataset).catch((err: unknown) => this.context.log.warn({ unit, err }, "not known what is kept of a cut stream"));
      throw error;
    }
    this.book.delete(unit);
    if (isFirst) await this.arrive(unit);
  }
  private async makeRoom(unit: string): Promise<void> {
    if ((await this.context.zfs.look(this.incoming(unit))) !== undefined) {
      await this.arrive(unit); // whole, and did not get its name when it came
      throw new HcError("NOT_READY", `A copy of ${unit} that had arrived before has got its name only now; look again.`);
    }
    await this.context.zfs.create(incomingRoot(this.context.cluster.dataset), { canmount: "off" }).catch((error: unknown) => {
      if (errorCode(error) !== "ALREADY_EXISTS") throw error;
    });
  }
  private async broke({ unit, guid, owner }: { unit: string; guid: string; owner: Seal }, dataset: string): Promise<void> {
    const tokens = await this.context.zfs.partials(dataset).catch((error: unknown) => {
      if (zfsFailure(error) === "missing") return new Map<string, string>();
      throw error;
    });
    const token = tokens.get(dataset);
    if (token === undefined) this.book.delete(unit);
    else this.book.set(unit, { epoch: owner.epoch, generation: owner.generation, guid, dataset, token });
  }
  /** One that finds another copy under its name goes to the stash, whole: there a person sees it, and no later start takes it for the unit's. */
  private async arrive(unit: string): Promise<void> {
    const { zfs, log, clock, cluster, host, event } = this.context;
    const dataset = this.incoming(unit);
    if ((await zfs.look(this.name(unit))) === undefined) return zfs.rename(dataset, this.name(unit));
    const epoch = parse((await zfs.look(dataset))?.dataset.user["partial"])?.epoch ?? 0;
    const id = stashId(unit, epoch, host.node, Math.floor(clock.wallMs()));
    await ensureStash(this.context);
    await zfs.set(dataset, { mountpoint: `${host.paths.data}/stash/${id}`, [stashProperty]: "kept" });
    await zfs.rename(dataset, `${stashRoot(cluster.dataset)}/${id}`);
    event(unit, "stashed", `${host.node} keeps a copy that arrived when another one had its name already, as ${id}`);
    log.warn({ unit, stash: id }, "a copy that arrived found another one under its name; it was put into the stash");
  }

  /** Gives up what is kept of the unit. */
  public async abandon(unit: string, why: string): Promise<void> {
    const partial = this.book.get(unit);
    if (partial === undefined) return;
    await this.context.zfs.abortReceive(partial.dataset);
    this.book.delete(unit);
    this.context.log.info({ unit, why, epoch: partial.epoch, guid: partial.guid }, "what was kept of a cut stream is given up");
  }

  /** Units whose kept part nobody will continue: the record does not want a copy here, or is another owner's. No command. */
  public stale(): string[] {
    const me = this.context.host.node;
    const wanted = (record: UnitRecord | undefined, partial: Partial): boolean =>
      record !== undefined && record.state === "live" && record.home !== me && record.epoch === partial.epoch && (record.replicas.includes(me) || record.move?.target === me);
    return [...this.book].filter(([unit, partial]) => !wanted(this.context.view.current().units.get(unit)?.value, partial)).map(([unit]) => unit);
  }

  /** Throws NOT_READY: the sender has to look again. */
  public assertFits(unit: string, owner: Seal, seal: Seal | undefined, guid: string): Partial {
    const partial = this.fitting(unit, owner, seal);
    if (partial?.guid !== guid) throw new HcError("NOT_READY", `${this.context.host.node} keeps nothing of ${unit} that this stream continues.`);
    return partial;
  }
}
