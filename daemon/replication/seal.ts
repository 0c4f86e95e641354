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
