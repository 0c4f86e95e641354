import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { adoptHere, type AdoptAnswer, type AdoptParts } from "./adopt.js";

const adoptMs = 3_600_000;

/** `POST /v1/nodes/<node>/adopt {apply, from}`: any node takes it, the node concerned does it; one at a time there. */
export function adoptRoutes(context: NodeContext, parts: AdoptParts): void {
  let running = false;
  const here = async (body: unknown): Promise<AdoptAnswer> => {
    const { apply = false, from = "" } = (body ?? {}) as { apply?: unknown; from?: unknown };
    if (typeof apply !== "boolean") throw new HcError("INVALID_INPUT", "apply: must be true or false.");
    if (typeof from !== "string" || !/^([A-Za-z][A-Za-z0-9_.:-]{0,63}(\/[A-Za-z0-9_.:-]{1,63}){1,8})?$/.test(from)) throw new HcError("INVALID_INPUT", "from: must be the dataset under which the units lie, as <pool>/hc.");
    if (from.startsWith(`${context.cluster.dataset}/`)) throw new HcError("INVALID_INPUT", `from: ${from} lies in the node's own ${context.cluster.dataset}.`);
    if (running) throw new HcError("LOCKED", `Another hc adopt-pool runs on ${context.host.node}.`);
    running = true;
    try {
      return await adoptHere(context, parts, { apply, from });
    } finally {
      running = false;
    }
  };
  context.peerRoutes.route("POST", "/peer/v1/adopt", async ({ json }) => here(await json()));
  context.apiRoutes.route("POST", "/v1/nodes/:node/adopt", async ({ params, json }) => {
    const node = params["node"] ?? "";
    const body = await json();
    if (node === context.host.node) return here(body);
    if (!context.cluster.members.some((member) => member.node === node)) throw new HcError("NOT_FOUND", `There is no node ${JSON.stringify(node.slice(0, 60))}; there are ${context.cluster.members.map((member) => member.node).join(", ")}.`);
    return context.peers.call(node, "POST", "/peer/v1/adopt", body, { timeoutMs: adoptMs });
  });
}
