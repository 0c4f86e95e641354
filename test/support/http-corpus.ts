import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The cases of test/fixtures/http; its README tells the format. */
export interface HttpCase {
  name: string;
  bytes: Buffer;
  refused?: number | "body";
  read?: Record<string, unknown> & { body?: string; rest?: string; complete?: boolean; framing?: string; sent?: string[]; requestMethod?: string };
}
type Text = string | (string | [text: string, times: number])[];

const bytesOf = (text: Text): Buffer => Buffer.from(typeof text === "string" ? text : text.map((part) => (typeof part === "string" ? part : part[0].repeat(part[1]))).join(""), "latin1");

/** All cases of one file; their names carry the group. */
export function httpCases(file: "requests" | "responses"): HttpCase[] {
  const groups = JSON.parse(readFileSync(join(process.cwd(), "test", "fixtures", "http", `${file}.json`), "utf8")) as Record<string, (Omit<HttpCase, "bytes"> & { bytes: Text })[]>;
  return Object.entries(groups).flatMap(([group, cases]) => cases.map((each) => ({ ...each, name: `${group}: ${each.name}`, bytes: bytesOf(each.bytes) })));
}

/** Whole, byte by byte, and cut in two at each offset (large ones at some). */
export function* cutsOf(bytes: Buffer): Generator<Buffer[]> {
  yield [bytes];
  const step = bytes.length > 4096 ? 1777 : 1;
  const size = bytes.length > 4096 ? 61 : 1;
  yield Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
  for (let at = 1; at < bytes.length; at += step) yield [bytes.subarray(0, at), bytes.subarray(at)];
  if (step > 1) for (let at = bytes.length - 8; at < bytes.length; at += 1) yield [bytes.subarray(0, at), bytes.subarray(at)];
}
