import { errorCode } from "./errors.js";

/** Longest list of names on one command line. */
const most = 100;

/**
 * Calls that come in one turn, or while one runs, go together into the next one: an idle node answers each at once, and a busy one starts a process for many of them instead of for each (a zfs command costs
 * 10–30 ms of CPU before it does anything). Invariants: a call is answered by a command that began after it was made; one command at a time; when one for several fails,
 * each is asked by itself, so that one name's trouble is told to its own caller only; a command that did not end in time is the pool's trouble, and everybody's.
 */
export class Together<Item, Answer> {
  private waiting: { item: Item; resolve(answer: Answer): void; reject(error: unknown): void }[] = [];
  private running = false;
  public constructor(private readonly act: (items: readonly Item[]) => Promise<readonly Answer[]>) {}

  public call(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (this.running) return;
      this.running = true;
      queueMicrotask(() => void this.drain()); // what is asked in this same turn goes along
    });
  }
  private async drain(): Promise<void> {
    while (this.waiting.length > 0) {
      const calls = this.waiting.splice(0, most);
      try {
        const answers = await this.act(calls.map(({ item }) => item));
        for (const [at, { resolve }] of calls.entries()) resolve(answers[at] as Answer);
      } catch (error) {
        if (calls.length === 1 || errorCode(error) === "COMMAND_TIMEOUT") for (const { reject } of calls) reject(error);
        else for (const { item, resolve, reject } of calls) await this.act([item]).then(([answer]) => resolve(answer as Answer), reject);
      }
    }
    this.running = false;
  }
}

/** One `Together` a key, e.g. a tag or a setting; what nobody waits for is forgotten, so that keys without number cost nothing. */
export class TogetherBy<Item, Answer> {
  private readonly byKey = new Map<string, { calls: Together<Item, Answer>; waiting: number }>();
  public constructor(private readonly act: (key: string, items: readonly Item[]) => Promise<readonly Answer[]>) {}

  public get keys(): number {
    return this.byKey.size;
  }
  public async call(key: string, item: Item): Promise<Answer> {
    const found = this.byKey.get(key) ?? { calls: new Together<Item, Answer>((items) => this.act(key, items)), waiting: 0 };
    this.byKey.set(key, found);
    found.waiting += 1;
    try {
      return await found.calls.call(item);
    } finally {
      found.waiting -= 1;
      if (found.waiting === 0) this.byKey.delete(key);
    }
  }
}
