import type { NodeContext } from "../context.js";
import { certificatesOf } from "./certificate-status.js";

/** `GET /v1/certificates`: all that sites use or wait for, from this node's picture. */
export function certificateRoutes({ apiRoutes, view, clock }: Pick<NodeContext, "apiRoutes" | "view" | "clock">): void {
  apiRoutes.route("GET", "/v1/certificates", async () => ({ certificates: certificatesOf(view.current(), clock.wallMs()) }));
}
