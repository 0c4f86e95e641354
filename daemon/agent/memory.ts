import { Troubles } from "./troubles.js";

/** What this process knows beyond what can be observed; lost at a restart, when everything is simply done once more (all steps can be repeated). */
export interface AgentMemory {
  /** Text of the whole list that the services took last. */
  configured: string;
  /** unit → text of its SiteRun in that list. */
  sites: Map<string, string>;
  /** unit → text with which it was started, or whose ready check passed. */
  started: Map<string, string>;
  checked: Map<string, string>;
  /** unit → revision of the document that is in force. */
  applied: Map<string, string>;
  baseReady: boolean;
  troubles: Troubles;
}
export const emptyMemory = (nowMs: () => number): AgentMemory => ({ configured: "", sites: new Map(), started: new Map(), checked: new Map(), applied: new Map(), baseReady: false, troubles: new Troubles(nowMs) });
