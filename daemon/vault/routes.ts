import type { NodeContext, PeerRequest } from "../context.js";
import { HcError, messageOf } from "../lib/errors.js";
import { parseAgo } from "../lib/point-in-time.js";
import type { BrowseInfo } from "./clones.js";
import type { FileAnswer, Origin, UnitOrder, VaultAnswer, VaultHome } from "./start.js";

/** Snapshots are listed, a clone is made. */
const shortMs = 60_000;
/** A restore of files answers when it is done. */
const fileMs = 900_000;
const defaultBrowseMs = 3_600_000;
const longestBrowseMs = 24 * 3_600_000;

export interface VaultListing extends VaultAnswer { browses: BrowseInfo[]; /** Nodes that could not be asked what is browsed there. */ unreachable: string[] }
export type { BrowseInfo, FileAnswer, UnitOrder };

interface Body { at: string; /** "" = the unit itself. */ source: string; /** Id of a stash instead of a time, "" = none. */ stash: string; file: unknown; forMs: number; reason: string }
/** Throws INVALID_INPUT. */
export function readVaultBody(value: unknown): Body {
  const body = (value ?? {}) as Record<string, unknown>;
  const text = (name: string, longest: number): string => {
    const given = body[name] ?? "";
    if (typeof given !== "string" || given.length > longest) throw new HcError("INVALID_INPUT", `${name}: must be a text of at most ${longest} characters.`);
    return given;
  };
  const at = text("at", 100);
  const stash = text("stash", 200);
  if (stash !== "" && (at !== "" || (body["from"] ?? "") !== "")) throw new HcError("INVALID_INPUT", "stash: stands for a time, not together with at or from.");
  if (at === "" && stash === "") throw new HcError("INVALID_INPUT", 'at: is required and missing; write a time such as "2026-11-23T17:05:00Z" or "10m".');
  const given = text("for", 20);
  const forMs = given === "" ? defaultBrowseMs : parseAgo(given);
  if (forMs === undefined || forMs < 60_000 || forMs > longestBrowseMs) throw new HcError("INVALID_INPUT", `for: ${JSON.stringify(given)} cannot be used; write a time from "1m" to "24h".`);
  const source = text("from", 60);
  if (source !== "" && !/^site-[a-z0-9-]{1,32}$/.test(source)) throw new HcError("INVALID_INPUT", `from: ${JSON.stringify(source)} is no name of a unit.`);
  const file = body["file"] ?? "";
  if (source !== "" && file !== "") throw new HcError("INVALID_INPUT", "from: whole units only, not together with file.");
  return { at, source, stash, file, forMs, reason: text("reason", 200) };
}

/** Any node takes an order and passes it to the unit's home; what is browsed is gathered from all nodes. */
export function vaultRoutes(context: Pick<NodeContext, "apiRoutes" | "peerRoutes" | "peers" | "view" | "cluster">, home: VaultHome): void {
  const { apiRoutes, peerRoutes, peers, view } = context;
  const here = context.cluster.node;
  const unitOf = ({ params }: PeerRequest): string => {
    const unit = params["id"] ?? "";
    if (!/^site-[a-z0-9-]{1,32}$/.test(unit)) throw new HcError("INVALID_INPUT", `unit: ${JSON.stringify(unit.slice(0, 60))} is no name of a unit.`);
    return unit;
  };
  const homeOf = (unit: string): string => {
    const record = view.current().units.get(unit)?.value;
    if (record === undefined) throw new HcError("NOT_FOUND", `There is no unit ${unit}.`);
    return record.home;
  };
  /** The same route on the API and between peers; `act` runs at home. */
  function atHome(method: "GET" | "POST", path: string, timeoutMs: number, act: (unit: string, body: unknown) => Promise<unknown>): void {
    peerRoutes.route(method, `/peer/v1/units/:id/vault${path}`, async (request) => act(unitOf(request), method === "GET" ? undefined : await request.json()));
    apiRoutes.route(method, `/v1/units/:id/vault${path}`, async (request) => {
      const unit = unitOf(request);
      const body = method === "GET" ? undefined : await request.json();
      const node = homeOf(unit);
      return node === here ? act(unit, body) : peers.call(node, method, `/peer/v1/units/${unit}/vault${path}`, body, { timeoutMs });
    });
  }
  async function gather(): Promise<{ browses: BrowseInfo[]; unreachable: string[] }> {
    const unreachable: string[] = [];
    const nodes = [...view.current().nodes.values()].map(({ value }) => value).filter(({ role }) => role === "node").map(({ node }) => node);
    const found = await Promise.all(nodes.map(async (node) => {
      try {
        return node === here ? await home.browses() : (await peers.call<{ browses: BrowseInfo[] }>(node, "GET", "/peer/v1/vault/browses", undefined, { timeoutMs: 10_000 })).browses;
      } catch (error) {
        unreachable.push(`${node}: ${messageOf(error)}`);
        return [];
      }
    }));
    return { browses: found.flat().sort((a, b) => a.expiresAtMs - b.expiresAtMs || (a.id < b.id ? -1 : 1)), unreachable: unreachable.sort() };
  }

  peerRoutes.route("GET", "/peer/v1/units/:id/vault", async (request) => home.list(unitOf(request)));
  apiRoutes.route("GET", "/v1/units/:id/vault", async (request): Promise<VaultListing> => {
    const unit = unitOf(request);
    const node = homeOf(unit);
    const [answer, { browses, unreachable }] = await Promise.all([node === here ? home.list(unit) : peers.call<VaultAnswer>(node, "GET", `/peer/v1/units/${unit}/vault`, undefined, { timeoutMs: shortMs }), gather()]);
    return { ...answer, browses: browses.filter((one) => one.unit === unit), unreachable };
  });
  atHome("POST", "/restore", fileMs, async (unit, body) => {
    const { at, source, stash, file, reason } = readVaultBody(body);
    const origin: Origin = stash !== "" ? { stash } : { at, ...(source === "" ? {} : { source }) };
    return file === "" ? home.restoreUnit(unit, origin, reason) : home.restoreFile(unit, origin, file, reason);
  });
  atHome("POST", "/browse", shortMs, async (unit, body) => {
    const { at, stash, forMs } = readVaultBody(body);
    if (stash !== "") throw new HcError("INVALID_INPUT", "stash: `hc stash diff ID` tells what is in it; it is not browsed.");
    return home.browse(unit, at, forMs);
  });
  peerRoutes.route("GET", "/peer/v1/vault/browses", async () => ({ browses: await home.browses() }));
  peerRoutes.route("DELETE", "/peer/v1/vault/browses/:id", async ({ params }) => {
    await home.close(params["id"] ?? "");
    return { id: params["id"] };
  });
  apiRoutes.route("GET", "/v1/vault/browses", gather);
  apiRoutes.route("DELETE", "/v1/vault/browses/:id", async ({ params }) => {
    const id = params["id"] ?? "";
    const { browses, unreachable } = await gather();
    const found = browses.find((one) => one.id === id);
    if (found === undefined && unreachable.length > 0) throw new HcError("NOT_READY", `${JSON.stringify(id.slice(0, 100))} is not on the nodes that answer; not asked: ${unreachable.join("; ")}`);
    if (found === undefined) throw new HcError("NOT_FOUND", `Nothing is browsed as ${JSON.stringify(id.slice(0, 100))}.`);
    if (found.node === here) await home.close(id);
    else await peers.call(found.node, "DELETE", `/peer/v1/vault/browses/${encodeURIComponent(id)}`, undefined, { timeoutMs: shortMs });
    return { id };
  });
}
