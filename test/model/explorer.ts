/** An explicit-state search, breadth first, over texts. It knows nothing of the model. */
export interface Step { label: string; state: string; /** Set when an invariant failed on the way. */ violation?: string; /** Seconds that pass. */ ticks: number }
export interface Model {
  initial(): string[];
  /** All that can happen next. `fair`: indices of the steps that runs take in which nothing more goes wrong, one of each kind of such runs. */
  successors(state: string): { steps: Step[]; fair: number[] };
  /** Names of those kinds. */
  readonly fairKinds: readonly string[];
  /** Does somebody serve? */
  good(state: string): boolean;
}
export interface Report {
  states: number; transitions: number; depth: number; exhausted: boolean; seconds: number;
  violation?: { what: string; trace: string[] };
  /** By kind of fair run: the longest that any state needs until it serves and goes on serving, s; undefined when that was not looked at. */
  healS?: Record<string, number>;
}

/** Open addressing over 64 bits of hash a state, in typed arrays: with n states the chance that two share a hash is about n²/2^65 (10 million states: 3 in a million), and is told here instead of hidden. */
class Seen {
  private size = 1 << 16;
  private high = new Uint32Array(this.size);
  private low = new Uint32Array(this.size);
  private ids = new Int32Array(this.size).fill(-1);
  public count = 0;
  public find(high: number, low: number): number {
    for (let at = (high ^ low) & (this.size - 1); ; at = (at + 1) & (this.size - 1)) {
      if (this.ids[at] === -1) return -1;
      if (this.high[at] === high && this.low[at] === low) return this.ids[at]!;
    }
  }
  public add(high: number, low: number): number {
    if (this.count * 2 > this.size) this.grow();
    this.put(high, low, this.count);
    return this.count++;
  }
  private put(high: number, low: number, id: number): void {
    let at = (high ^ low) & (this.size - 1);
    while (this.ids[at] !== -1) at = (at + 1) & (this.size - 1);
    this.high[at] = high;
    this.low[at] = low;
    this.ids[at] = id;
  }
  private grow(): void {
    const [high, low, ids] = [this.high, this.low, this.ids];
    this.size *= 2;
    this.high = new Uint32Array(this.size);
    this.low = new Uint32Array(this.size);
    this.ids = new Int32Array(this.size).fill(-1);
    for (let at = 0; at < ids.length; at += 1) if (ids[at] !== -1) this.put(high[at]!, low[at]!, ids[at]!);
  }
}
/** Two FNV-1a sums with different starts, each finished by murmur3's mix. */
function hashOf(text: string): [number, number] {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + at), 0x5bd1e995);
    b ^= b >>> 15;
  }
  const mix = (h: number): number => {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  };
  return [mix(a), mix(b)];
}

class Ints {
  private values = new Int32Array(1 << 16);
  public get(at: number): number {
    return this.values[at]!;
  }
  public set(at: number, value: number): void {
    if (at >= this.values.length) {
      const more = new Int32Array(this.values.length * 2);
      more.set(this.values);
      this.values = more;
    }
    this.values[at] = value;
  }
}

export interface Options { /** Hard cap of states. */ most: number; /** Without it only safety is looked at. */ liveness?: boolean; /** Longest run of seconds until it serves. */ withinS?: number; progress?(text: string): void }

export function explore(model: Model, { most, liveness = true, withinS = 120, progress }: Options): Report {
  const began = process.cpuUsage();
  const seconds = (): number => (process.cpuUsage(began).user + process.cpuUsage(began).system) / 1e6;
  const seen = new Seen();
  const parents = new Ints();
  /** id → id of the fair next state, * 2 + whether a second passes; -1 = not looked at. */
  const fairNext = model.fairKinds.map(() => new Ints());
  const isGood = new Ints();
  let layer: { id: number; text: string }[] = [];
  const enter = (text: string, parent: number): { id: number; fresh: boolean } => {
    const [high, low] = hashOf(text);
    const known = seen.find(high, low);
    if (known >= 0) return { id: known, fresh: false };
    const id = seen.add(high, low);
    parents.set(id, parent);
    for (const next of fairNext) next.set(id, -1);
    if (liveness) isGood.set(id, model.good(text) ? 1 : 0);
    return { id, fresh: true };
  };
  for (const text of model.initial()) {
    const { id, fresh } = enter(text, -1);
    if (fresh) layer.push({ id, text });
  }
  const roots = layer.map(({ text }) => text);
  let [transitions, depth] = [0, 0];
  const report = (more: Partial<Report>): Report => ({ states: seen.count, transitions, depth, exhausted: false, seconds: Math.round(seconds() * 10) / 10, ...more });
  const traceTo = (id: number): string[] => trace(model, roots, ids(parents, id), (text) => {
    const [high, low] = hashOf(text);
    return seen.find(high, low);
  });
  while (layer.length > 0) {
    const next: typeof layer = [];
    for (const { id, text } of layer) {
      const { steps, fair } = model.successors(text);
      for (const [at, step] of steps.entries()) {
        transitions += 1;
        if (step.violation !== undefined) return report({ violation: { what: step.violation, trace: [...traceTo(id), step.label] } });
        const { id: to, fresh } = enter(step.state, id);
        if (fresh) next.push({ id: to, text: step.state });
        for (const [kind, index] of fair.entries()) if (at === index) fairNext[kind]!.set(id, to * 2 + step.ticks);
      }
      if (seen.count >= most) return report({});
    }
    layer = next;
    depth += 1;
    progress?.(`depth ${depth}: ${seen.count} states, ${transitions} transitions, ${layer.length} new, ${Math.round(seconds())} s`);
  }
  if (!liveness) return report({ exhausted: true });
  const healS: Record<string, number> = {};
  for (const [kind, name] of model.fairKinds.entries()) {
    const found = healing(seen.count, fairNext[kind]!, isGood, withinS);
    healS[name] = found.healS;
    if (found.bad >= 0) return report({ exhausted: true, healS, violation: { what: `the unit is not served within ${withinS} s, or not for good, although nothing more goes wrong (${name})`, trace: traceTo(found.bad) } });
  }
  return report({ exhausted: true, healS });
}

const ids = (parents: Ints, id: number): number[] => {
  const path: number[] = [];
  for (let at = id; at >= 0; at = parents.get(at)) path.unshift(at);
  return path;
};
/** The search keeps hashes only: the way to a state is found again by going it. */
function trace(model: Model, roots: readonly string[], path: readonly number[], idOf: (text: string) => number): string[] {
  let text = roots.find((root) => idOf(root) === path[0])!;
  const labels: string[] = [];
  for (const id of path.slice(1)) {
    const step = model.successors(text).steps.find(({ state }) => idOf(state) === id)!;
    labels.push(step.label);
    text = step.state;
  }
  return labels;
}

/**
 * Where nothing more goes wrong each state has one next state: a graph in which every path ends in a circle. The unit is served in the end when that circle serves in each of its states;
 * the seconds to the last state that does not are the time that it takes.
 */
function healing(count: number, next: Ints, good: Ints, withinS: number): { bad: number; healS: number } {
  const unknown = -1;
  const walking = -2;
  const never = -3;
  const cost = new Int32Array(count).fill(unknown);
  let healS = 0;
  for (let start = 0; start < count; start += 1) {
    const path: number[] = [];
    let at = start;
    while (cost[at] === unknown) {
      cost[at] = walking;
      path.push(at);
      at = next.get(at) >> 1;
    }
    let base = cost[at]!;
    if (base === walking) {
      const circle = path.slice(path.indexOf(at));
      base = circle.every((id) => good.get(id) === 1) && circle.some((id) => (next.get(id) & 1) === 1) ? 0 : never;
      for (const id of circle) cost[id] = base;
      path.length = path.indexOf(at);
    }
    for (const id of path.reverse()) {
      base = base === never ? never : base > 0 || good.get(id) === 0 ? base + (next.get(id) & 1) : 0;
      // not served, and the second is not over: it still costs one when it does not serve
      if (base === 0 && good.get(id) === 0) base = 1;
      cost[id] = base;
    }
    if (cost[start] === never || cost[start]! > withinS) return { bad: start, healS };
    healS = Math.max(healS, cost[start]!);
  }
  return { bad: -1, healS };
}
