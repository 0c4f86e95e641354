import type { NodeContext, PeerRequest } from "../context.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { VaultClones } from "./clones.js";
import { diffLimit, StashDesk, type StashDetail, type StashDiff } from "./stash-desk.js";
import { stashNode } from "./stash-open.js";

const shortMs = 20_000;
/** Longer than a comparison may take. */
const diffMs = 120_000;

/** `GET /v1/stash/<id>`: a stash, and why it is one. */
export interface StashAnswerOne extends StashDetail { /** For people: who went on, and from where. */ why: string }

/** Any node is asked; the one whose stash it is, named by the id, answers. `GET /v1/stash` and `DELETE /v1/stash/<id>` are replication's (stash-routes.ts). */
export function stashDeskRoutes(context: NodeContext, clones: VaultClones): void {
  const { peers, peerRoutes, apiRoutes, view, signal } = context;
  const desk = new StashDesk(context, clones);
  const idOf = ({ params }: PeerRequest): string => params["id"] ?? "";
  peerRoutes.route("GET", "/peer/v1/stash/:id", (request) => desk.detail(idOf(request)));
  peerRoutes.route("POST", "/peer/v1/stash/:id/present", (request) => desk.withPresent(idOf(request)));
  peerRoutes.route("GET", "/peer/v1/stash/:id/diff", (request) => desk.diff(idOf(request), diffLimit(request.query.get("limit")), signal));
  peerRoutes.route("GET", "/peer/v1/stash/:id/stream", async (request, response) => {
    await desk.send(idOf(request), request.query.get("have") ?? "", response);
    return undefined;
  });

  const ask = async <T>(id: string, path: string, timeoutMs: number): Promise<T> => {
    const node = stashNode(id);
    try {
      return await peers.call<T>(node, "GET", `/peer/v1/stash/${encodeURIComponent(id)}${path}`, undefined, { timeoutMs });
    } catch (error) {
      // a node that was never a member has no address
      if (view.current().nodes.has(node)) throw error;
      throw new HcError("NOT_FOUND", `There is no node ${node}, on which ${id} would lie (${messageOf(error)}); \`hc stash list\` shows what there is.`);
    }
  };
  apiRoutes.route("GET", "/v1/stash/:id", async (request): Promise<StashAnswerOne> => {
    const stash = await ask<StashDetail>(idOf(request), "", shortMs);
    const record = view.current().units.get(stash.unit)?.value;
    return { ...stash, why: whyStashed(stash, record) };
  });
  apiRoutes.route("GET", "/v1/stash/:id/diff", (request) => ask<StashDiff>(idOf(request), `/diff?limit=${encodeURIComponent(request.query.get("limit") ?? "")}`, diffMs));
}

/** Pure. */
export function whyStashed({ unit, node, epoch, common }: Pick<StashDetail, "unit" | "node" | "epoch" | "common">, record: { home: string; epoch: number } | undefined): string {
  const from = common === null ? "from another history, which shares no snapshot with this one" : `from ${common.name}`;
  const on = record === undefined ? `${unit} is gone since` : `It is at home on ${record.home} with epoch ${record.epoch} now`;
  return `${unit} went on without ${node}, ${from}; what ${node} held beyond that, written under epoch ${epoch}, had lost. ${on}.`;
}
