import { HeadError } from "./http-head.js";

/**
 * Between proxies, over mutual TLS: before each request the edge writes one line, the home answers with one before it reads a body
 * (OWNERSHIP 20). `held` and `not-home` mean "not run": any method may be tried again. Pure.
 */
export type Verdict = "accepted" | "held" | "not-home";
export interface Prelude { unit: string; epoch: number; client: string; proto: "http" | "https" }

export const preludeLine = (prelude: Prelude): string => `HC1 ${prelude.unit} ${prelude.epoch} ${prelude.client} ${prelude.proto}\r\n`;
export const verdictLine = (verdict: Verdict): string => `HC1 ${verdict}\r\n`;

export function parsePrelude(line: string): Prelude {
  const match = /^HC1 ([a-z0-9-]{1,64}) ([0-9]{1,12}) ([0-9A-Fa-f:.]{2,45}) (https?)$/.exec(line);
  if (match === null) throw new HeadError(400, "prelude");
  return { unit: match[1] as string, epoch: Number(match[2]), client: match[3] as string, proto: match[4] as "http" | "https" };
}

export function parseVerdict(line: string): Verdict {
  const match = /^HC1 (accepted|held|not-home)$/.exec(line);
  if (match === null) throw new HeadError(502, "verdict");
  return match[1] as Verdict;
}
