import { HcError } from "../../daemon/lib/errors.js";

/** Names and host names that a program has used: found twice, the program fails before anything runs. */
const used = new Map<string, string>();

/** Throws ALREADY_EXISTS naming both users. `scope` = "host name in cluster eu", `owner` = "Site shop". Unknown (computed) names are not seen here. */
export function register(scope: string, name: string, owner: string): void {
  const key = `${scope}\0${name}`;
  const before = used.get(key);
  if (before !== undefined) throw new HcError("ALREADY_EXISTS", `${owner}: the ${scope} ${JSON.stringify(name)} is already used by ${before}; each can be used once.`);
  used.set(key, owner);
}

/** For tests: a new program begins. */
export function clearRegistry(): void {
  used.clear();
}
