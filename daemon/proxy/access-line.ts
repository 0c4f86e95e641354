import type { RequestHead } from "./http-head.js";

/**
 * A line of an access log. Pure. Apache's "combined" format (mod_log_config), and behind it what its readers pass over:
 * `CLIENT - - [TIME] "METHOD TARGET VERSION" STATUS BYTES "REFERER" "AGENT" ms=N held=N home=NODE edge=NODE scheme=http host=NAME`.
 */
export interface Visit {
  client: { address: string; proto: "http" | "https" };
  head: RequestHead;
  /** "HTTP/1.1", "HTTP/2.0" */
  version: string;
  /** 499: the client had gone before there was an answer, as nginx calls it. */
  status: number;
  /** Of the answer's body, as they were handed to the client's connection: where it goes in chunks, their sizes too. */
  bytes: number;
  /** Since its head was whole, and how long of that it waited at this node for a home. */
  tookMs: number;
  heldMs: number;
  /** Where it was sent; "" = nowhere. */
  home: string;
  /** The node that had the client. */
  edge: string;
  /** UTC ms, of its end. */
  endedMs: number;
}

/** Longest items; with them a line has at most 4 KiB. */
const most = { target: 2048, referer: 512, agent: 512 } as const;
export const longestLine = 4096;

/** What may not stand in quotes as it is: all but printable ASCII, and the quote and the backslash. */
const odd = /[^ !#-[\]-~]/;
function escaped(code: number): string {
  if (code === 0x22) return '\\"';
  if (code === 0x5c) return "\\\\";
  if (code >= 0x20 && code < 0x7f) return String.fromCharCode(code);
  return code > 0xff ? `\\u${code.toString(16).padStart(4, "0")}` : `\\x${code.toString(16).padStart(2, "0")}`;
}
/** A client's words, escaped as Apache does it (mod_log_config, "Format Notes"), and cut: nobody but us ends an item or a line. */
export function logItem(value: string, longest: number): string {
  if (value.length <= longest && !odd.test(value)) return value;
  let text = "";
  for (let at = 0; at < value.length; at += 1) {
    const next = escaped(value.charCodeAt(at));
    if (text.length + next.length > longest - 3) return `${text}...`;
    text += next;
  }
  return text;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (value: number): string => (value < 10 ? `0${value}` : String(value));
let last = { second: Number.NaN, text: "" };
/** "[23/Nov/2026:17:05:00 +0000]": UTC, so that the lines of several nodes can be merged. */
export function logTime(atMs: number): string {
  const second = Math.floor(atMs / 1000);
  if (second !== last.second) {
    const at = new Date(second * 1000);
    last = { second, text: `[${two(at.getUTCDate())}/${months[at.getUTCMonth()]}/${at.getUTCFullYear()}:${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000]` };
  }
  return last.text;
}
/** The time of a line, UTC ms; undefined where none stands. */
export function timeOfLine(line: string): number | undefined {
  const match = /^\S+ \S+ \S+ \[(\d\d)\/(\w{3})\/(\d{4}):(\d\d):(\d\d):(\d\d) \+0000\]/.exec(line);
  const month = months.indexOf(match?.[2] ?? "");
  if (match === null || month === -1) return undefined;
  const [day, , year, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  return Date.UTC(year, month, day, hour, minute, second);
}

function fieldText(head: RequestHead, lower: string, longest: number): string {
  for (const field of head.fields) if (field.lower === lower) return logItem(field.value, longest);
  return "-";
}

/** With its newline; printable ASCII apart from that. */
export function accessLine({ client, head, version, status, bytes, tookMs, heldMs, home, edge, endedMs }: Visit): string {
  return `${client.address} - - ${logTime(endedMs - tookMs)} "${head.method} ${logItem(head.target, most.target)} ${version}" ${status} ${bytes === 0 ? "-" : bytes} "${fieldText(head, "referer", most.referer)}" "${fieldText(head, "user-agent", most.agent)}" ms=${Math.round(tookMs)} held=${Math.round(heldMs)} home=${home === "" ? "-" : home} edge=${edge} scheme=${client.proto} host=${head.host}\n`;
}
