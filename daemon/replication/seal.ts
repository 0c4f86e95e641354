import type { SessionRecord, UnitRecord } from "../lib/records.js";

/** The owner after which a copy was sealed: streams of it, and of all before it, are refused (OWNERSHIP 10). Kept in `hybridcluster:sealed`, so that it outlives hcd. */
export interface Seal { epoch: number; generation: number }

export const sealText = ({ epoch, generation }: Seal): string => `${epoch}.${generation}`;

export function parseSeal(text: string | undefined): Seal | undefined {
  const match = /^([0-9]{1,15})\.([0-9]{1,15})$/.exec(text ?? "");
  return match === null ? undefined : { epoch: Number(match[1]), generation: Number(match[2]) };
}

/** Does the seal keep out a stream of this owner? An owner that came back with a new session has a later generation, and may go on. */
export function keepsOut(seal: Seal | undefined, owner: Seal): boolean {
  return seal !== undefined && (owner.epoch < seal.epoch || (owner.epoch === seal.epoch && owner.generation <= seal.generation));
}

export function laterSeal(a: Seal | undefined, b: Seal): Seal {
  return a === undefined || keepsOut(b, a) ? b : a;
}

/** Pure: why a copy is not sealed after `owner`; "" when it may be. `record` and `session` (of the record's home) as etcd has them now. */
export function sealRefusal(record: UnitRecord | undefined, session: SessionRecord | undefined, { epoch, generation }: Seal): string {
  if (record === undefined || record.epoch !== epoch || record.homeGeneration > generation) return `not after epoch ${epoch}, generation ${generation}: its record ${record === undefined ? "is gone" : `says ${record.epoch}, ${record.homeGeneration}`}`;
  return session !== undefined && session.dead !== true ? `its home ${record.home} is not declared dead` : "";
}

/** Pure: is a stream of `epoch` from `from` what this record lets `me` take? */
export const takesStream = (record: UnitRecord, me: string, from: string, epoch: number): boolean => record.epoch === epoch && record.home === from && (record.replicas.includes(me) || record.move?.target === me);
