/**
 * A create or update that got half-way: the engine keeps the resource with init errors and calls `update` at the next up. The adapter
 * adds the inputs' `__provider`, without which a later destroy fails ("code must be a string, not undefined").
 */
export class PartialError extends Error {
  public readonly partial = true;
  public constructor(message: string, public readonly id: string, public readonly outs: object) {
    super(message);
    this.name = "PartialError";
  }
}
