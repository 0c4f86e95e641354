import { HcError } from "../lib/errors.js";

/** Pure: passwd(5) on both platforms. */
export interface Account { user: string; uid: number; gid: number }

export function userName(user: string): string {
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(user)) throw new HcError("INVALID_INPUT", `${JSON.stringify(user)} cannot be the name of a user.`);
  return user;
}

/** `getent passwd`: name:password:uid:gid:… */
export function parseAccounts(text: string): Account[] {
  return text.split("\n").flatMap((line) => {
    const [user, , uid, gid] = line.split(":");
    return user === undefined || uid === undefined || gid === undefined || !/^\d+$/.test(uid) || !/^\d+$/.test(gid) ? [] : [{ user, uid: Number(uid), gid: Number(gid) }];
  });
}

/** What stands against a user with these numbers: nothing (undefined: make it), itself ("same"), or CONFLICT. */
export function compareAccount(accounts: readonly Account[], wanted: Account): "same" | "missing" {
  const named = accounts.find((account) => account.user === wanted.user);
  if (named !== undefined) {
    if (named.uid === wanted.uid && named.gid === wanted.gid) return "same";
    throw new HcError("CONFLICT", `User ${wanted.user} exists with uid ${named.uid} and gid ${named.gid}, wanted are ${wanted.uid} and ${wanted.gid}.`, { retry: "never" });
  }
  const taken = accounts.find((account) => account.uid === wanted.uid);
  if (taken !== undefined) throw new HcError("CONFLICT", `uid ${wanted.uid} of ${wanted.user} belongs to ${taken.user} here.`, { retry: "never" });
  return "missing";
}

/** The newest of installed PHP-FPM programs, by their `-v` texts: "PHP 8.2.36 (fpm-fcgi) …" → "8.2". */
export function phpVersion(text: string): string | undefined {
  return /^PHP (\d+\.\d+)\./m.exec(text)?.[1];
}
