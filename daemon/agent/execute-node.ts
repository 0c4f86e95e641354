import { messageOf } from "../lib/errors.js";
import type { Executors } from "./executors.js";
import { serviceText } from "./site-run.js";

export const executeNode: Pick<Executors, "ensure-user" | "remove-user" | "configure"> = {
  "ensure-user": ({ context }, { user, uid, gid }) => context.platform.ensureUser(user, uid, gid),
  async "remove-user"({ context }, { user }) {
    await context.platform.removeUser(user);
    context.log.info({ user }, "user of a deleted customer removed");
  },
  async configure({ context, memory }, { sites, text }) {
    if (!memory.baseReady) {
      await context.services.ensureBase();
      memory.baseReady = true;
    }
    try {
      await context.services.configure(sites);
    } catch (error) {
      context.log.warn({ reason: messageOf(error) }, "services refused the new configuration; the old one is in force");
      throw error;
    }
    memory.configured = text;
    memory.sites = new Map(sites.map((site) => [site.unit, serviceText(site)]));
  },
};
