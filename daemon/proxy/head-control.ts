import { type Field, HeadError, membersOf } from "./http-fields.js";

/** What a head says about its message's framing and its connection (RFC 9112 §6, §9). Pure. */
export type Framing = { kind: "none" } | { kind: "length"; bytes: number } | { kind: "chunked" } | { kind: "until-close" };

/** The fields that decide how a message is framed and what becomes of its connection. Several fields of one name are joined by commas. */
export interface Control { host: string | undefined; length: number | undefined; coding: string | undefined; connection: string | undefined; upgrade: string | undefined; upgrades: number; expect: string | undefined }

function contentLength(value: string): number {
  if (!/^(?:0|[1-9][0-9]{0,14})$/.test(value)) throw new HeadError(400, "content-length");
  return Number(value);
}
const joined = (before: string | undefined, value: string): string => (before === undefined ? value : `${before},${value}`);

/** Throws HeadError 400: several hosts, several or odd lengths. */
export function controlOf(fields: readonly Field[]): Control {
  const seen: Control = { host: undefined, length: undefined, coding: undefined, connection: undefined, upgrade: undefined, upgrades: 0, expect: undefined };
  for (const { lower, value } of fields) {
    switch (lower) {
      case "host":
        if (seen.host !== undefined) throw new HeadError(400, "several hosts");
        seen.host = value;
        break;
      case "content-length":
        if (seen.length !== undefined) throw new HeadError(400, "several content-lengths");
        seen.length = contentLength(value);
        break;
      case "transfer-encoding":
        seen.coding = joined(seen.coding, value);
        break;
      case "connection":
        seen.connection = joined(seen.connection, value);
        break;
      case "upgrade":
        seen.upgrade = value;
        seen.upgrades += 1;
        break;
      case "expect":
        seen.expect = joined(seen.expect, value);
        break;
    }
  }
  return seen;
}

export const noOptions: readonly string[] = [];
/** Members of Connection; the usual values are not taken apart. */
export function optionsOf(connection: string | undefined): readonly string[] {
  return connection === undefined || connection === "keep-alive" || connection === "Keep-Alive" ? noOptions : membersOf(connection);
}
/** "close" wins over all (RFC 9112 §9.3). */
export const persists = (minor: 0 | 1, connection: string | undefined, options: readonly string[]): boolean => !options.includes("close") && (minor === 1 || (connection !== undefined && (options === noOptions || options.includes("keep-alive"))));
