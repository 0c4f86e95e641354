import { hostname, userInfo } from "node:os";
import { retry, until } from "../daemon/lib/backoff.js";
import type { DesiredDocument } from "../daemon/lib/documents.js";
import { errorCode, HcError } from "../daemon/lib/errors.js";
import type { RestoreResult, UnitRecord } from "../daemon/lib/records.js";
import type { UnitOrder } from "../daemon/vault/routes.js";
import type { ClusterClient } from "./cluster-client.js";
import { unitId } from "./unit-name.js";

// What the commands of vault and stash share.
export const utc = (atMs: number): string => new Date(atMs).toISOString().slice(0, 19).replace("T", " ");
/** Who did it, for the history. */
export const reasonOf = (what: string): string => `hc ${what} by ${userInfo().username}@${hostname()}`.slice(0, 200);

/** A home that is just starting, or an etcd that is busy, is asked again for a while; all calls of the vault may be repeated. */
export const patiently = <T>(call: () => Promise<T>): Promise<T> =>
  retry("the vault", { firstMs: 300, capMs: 2_000, withinMs: 20_000 }, () => call().catch((error: unknown) => {
    const code = errorCode(error);
    throw error instanceof HcError && code !== "NOT_READY" && code !== "NO_QUORUM" && code !== "NOT_HOME" ? new HcError(error.code, error.message, { context: error.context, retry: "never" }) : error;
  })).catch((error: unknown) => {
    throw error instanceof HcError && error.cause instanceof HcError ? error.cause : error;
  });

export interface UnitAnswer { record?: UnitRecord; document: DesiredDocument<"site"> | null; ready?: boolean }
/** A time of the unit or of another one, or what lies in a stash. */
export type RestoreFrom = { at: string; from?: string } | { stash: string };
export type UnitRestored = UnitOrder & RestoreResult;

/** Orders the restore of a whole unit and waits for its end. */
export async function restoreWhole(client: ClusterClient, unit: string, from: RestoreFrom, timeoutS: number, tell: (order: UnitOrder) => void): Promise<UnitRestored> {
  const order = await patiently(() => client.call<UnitOrder>("POST", `/v1/units/${unit}/vault/restore`, { ...from, reason: reasonOf("vault restore") }, 90_000));
  tell(order);
  return untilRestored(client, order, timeoutS);
}
/** Throws IMPOSSIBLE_CHANGE when the unit is as it was before. */
export async function untilRestored(client: ClusterClient, order: UnitOrder, timeoutS: number): Promise<UnitRestored> {
  const { unit } = order;
  let seen = false;
  const end = await until(`the restore of ${unit}`, { withinMs: timeoutS * 1000, firstMs: 100, capMs: 500 }, async () => {
    const { record } = await client.call<{ record: UnitRecord }>("GET", `/v1/units/${unit}`);
    if (record.restored?.id === order.id) return record.restored;
    seen ||= record.restore?.id === order.id;
    if (seen && record.restore?.id !== order.id) throw new HcError("CONFLICT", `${unit}: the restore was ended by something else; \`hc events ${unit}\` tells by what.`, { retry: "never" });
    return undefined;
  });
  if (end.error !== "") throw new HcError("IMPOSSIBLE_CHANGE", `${unit} was not restored: ${end.error}`);
  return { ...order, ...end };
}

export interface SiteCopy { document: DesiredDocument<"site">; to: string; hostnames: string[]; /** Where it is placed if it may be: near the data. */ near: string; from: RestoreFrom; timeoutS: number; /** What to do when the name is taken. */ elsewhere: string }
/** A new site by a document of the API, with that content. Throws ALREADY_EXISTS. */
export async function copySite(client: ClusterClient, { document, to, hostnames, near, from, timeoutS, elsewhere }: SiteCopy, tell: (line: string) => void): Promise<UnitRestored> {
  const unit = unitId(to);
  const name = unit.replace(/^site-/, "");
  const there = await client.call<object>("GET", `/v1/documents/site/${name}`).then(() => true, (error: unknown) => {
    if (errorCode(error) === "NOT_FOUND") return false;
    throw error;
  });
  if (there) throw new HcError("ALREADY_EXISTS", `There is a site ${name}: choose another name, or give it that content by \`${elsewhere}\`.`);
  const placement = { prefer: [near], require: [], avoid: [], pin: "", acrossZones: document.spec.placement.acrossZones };
  const wanted: DesiredDocument<"site"> = { ...document, name, origin: "api", spec: { ...document.spec, hostnames, placement, content: { sha256: "" } } };
  await client.call("PUT", `/v1/documents/site/${name}`, wanted);
  tell("is being made");
  await until(`site ${name}`, { withinMs: timeoutS * 1000, firstMs: 200, capMs: 1_000 }, async () => ((await client.call<UnitAnswer>("GET", `/v1/units/${unit}`)).ready === true ? true : undefined));
  return restoreWhole(client, unit, from, timeoutS, (order) => tell(`to ${order.snapshot} (${utc(order.madeMs)} UTC) on ${order.node}`));
}
