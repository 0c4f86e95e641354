import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accessLine, logItem, logTime, longestLine, timeOfLine, type Visit } from "../../daemon/proxy/access-line.js";
import { AccessLog, logBounds, type LogBounds, logsToRemove } from "../../daemon/proxy/access-log.js";
import { mergeLines, readAccessLog } from "../../daemon/proxy/access-log-tail.js";
import { parseRequest } from "../../daemon/proxy/http-head.js";

let folder: string;
let warned: unknown[];
const log = { warn: (...args: unknown[]) => void warned.push(args) } as never;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hc-access-"));
  warned = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const text = (name: string): string => readFileSync(join(folder, name), "latin1");
const small: LogBounds = { ...logBounds, fileBytes: 100, unitBytes: 250 };

const atMs = Date.UTC(2026, 10, 3, 17, 5, 9, 700);
const visit = (head: string, more: Partial<Visit> = {}): Visit => ({
  client: { address: "2001:db8::7", proto: "https" }, head: parseRequest(Buffer.from(head, "latin1")), version: "HTTP/1.1", status: 200, bytes: 1234, tookMs: 12.4, heldMs: 3.6, home: "n2", edge: "n1", endedMs: atMs, ...more,
});

test("a line is Apache's combined format, with what a cluster's administrator needs behind it", () => {
  expect(accessLine(visit("GET /a?b=c HTTP/1.1\r\nHost: Shop.example:8080\r\nReferer: https://x.example/\r\nUser-Agent: Mozilla/5.0 (X11)\r\n\r\n")))
    .toBe('2001:db8::7 - - [03/Nov/2026:17:05:09 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "https://x.example/" "Mozilla/5.0 (X11)" ms=12 held=4 home=n2 edge=n1 scheme=https host=shop.example\n');
  expect(accessLine(visit("GET / HTTP/1.1\r\nHost: a\r\n\r\n", { bytes: 0, home: "", status: 503 }))).toMatch(/" 503 - "-" "-" ms=12 held=4 home=- edge=n1/);
});
test("times: of the request's beginning, and back", () => {
  expect(logTime(Date.UTC(2026, 1, 28, 23, 59, 59, 999))).toBe("[28/Feb/2026:23:59:59 +0000]");
  expect(timeOfLine(accessLine(visit("GET / HTTP/1.1\r\nHost: a\r\n\r\n", { tookMs: 1_000 })))).toBe(Date.UTC(2026, 10, 3, 17, 5, 8));
  expect(timeOfLine("nonsense")).toBeUndefined();
});
test.each<[string, string]>([
  ['say "hi"\\', 'say \\"hi\\"\\\\'], ["tab\there", "tab\\x09here"], ["a\r\nb\0\x7f\x1b[2J", "a\\x0d\\x0ab\\x00\\x7f\\x1b[2J"], ["caf\xe9", "caf\\xe9"], ["\u2028", "\\u2028"], ["", ""], ["plain ~!", "plain ~!"],
])("%j is written as %s", (value, expected) => {
  expect(logItem(value, 512)).toBe(expected);
});
test("every byte of a client's words leaves one line of printable ASCII, with its three pairs of quotes, of at most 4 KiB", () => {
  for (let byte = 0; byte < 256; byte += 1) {
    for (const words of [String.fromCharCode(byte), String.fromCharCode(byte).repeat(9_000)]) {
      const made = visit("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      made.head.target = `/${words}`;
      made.head.fields = [...made.head.fields, { name: "Referer", lower: "referer", value: words }, { name: "User-Agent", lower: "user-agent", value: words }];
      const line = accessLine(made);
      expect(line.length).toBeLessThanOrEqual(longestLine);
      expect(line).toMatch(/^[ -~]*\n$/);
      expect(line.replace(/\\[\\"]/g, "").split('"')).toHaveLength(7);
    }
  }
});

test("lines wait in memory and are appended whole; each site has a file of its own", async () => {
  const written = new AccessLog(folder, log);
  for (const line of ["one\n", "two\n"]) written.add("site-a", line);
  written.add("site-b", "other\n");
  expect(readdirSync(folder)).toEqual([]);
  await written.flush();
  written.add("site-a", "three\n");
  await written.stop();
  expect([text("site-a.log"), text("site-b.log"), written.written, written.dropped]).toEqual(["one\ntwo\nthree\n", "other\n", 4, 0]);
});
test("what finds no room in memory is dropped and counted, and one site does not take another's", async () => {
  const written = new AccessLog(folder, log, logBounds, { unitBytes: 10, allBytes: 15 });
  for (let i = 0; i < 4; i += 1) written.add("site-a", "12345\n");
  for (let i = 0; i < 3; i += 1) written.add("site-b", "1234\n");
  expect(written.dropped).toBe(5);
  await written.flush();
  // room again
  written.add("site-a", "again\n");
  await written.flush();
  expect([text("site-a.log"), text("site-b.log"), written.written]).toEqual(["12345\nagain\n", "1234\n", 3]);
});
test("a folder that cannot be written costs lines, not memory, and is told once", async () => {
  const written = new AccessLog(join(folder, "missing"), log);
  for (let i = 0; i < 3; i += 1) {
    written.add("site-a", "x\n");
    await written.flush();
  }
  expect([written.dropped, written.written, warned.length]).toEqual([3, 0, 1]);
});
test("a link in a log's place is not followed, and no name leaves the folder", async () => {
  writeFileSync(join(folder, "secret"), "secret\n");
  symlinkSync(join(folder, "secret"), join(folder, "site-a.log"));
  execFileSync("mkfifo", [join(folder, "site-b.log")]);
  const written = new AccessLog(folder, log);
  written.add("site-a", "x\n");
  written.add("../site-c", "x\n");
  await written.flush();
  expect([text("secret"), written.dropped]).toEqual(["secret\n", 2]);
  for (const unit of ["site-a", "site-b", "../secret"]) expect(await readAccessLog(folder, unit, 10)).toEqual([]);
});
test("a large file is put aside and the oldest go; no line of what is kept is lost, in two or mixed", async () => {
  const workers = [new AccessLog(folder, log, small), new AccessLog(folder, log, { ...small })];
  let sum = 0;
  for (let round = 0; round < 30; round += 1) {
    for (const [at, worker] of workers.entries()) worker.add("site-a", `round ${String(round).padStart(2, "0")} worker ${at} ${"x".repeat(30)}\n`);
    await Promise.all(workers.map((worker) => worker.flush()));
    sum = readdirSync(folder).map((name) => text(name).length).reduce((a, b) => a + b, 0);
    // a flush of two lines may come on top before the next look
    expect(sum).toBeLessThanOrEqual(small.unitBytes + 2 * 100);
  }
  const lines = await readAccessLog(folder, "site-a", 1_000);
  const all = readdirSync(folder).sort((a, b) => (a === "site-a.log" ? 1 : b === "site-a.log" ? -1 : a < b ? -1 : 1)).map(text).join("");
  expect(all).toMatch(/^(round \d\d worker \d x{30}\n)+$/);
  // the newest, without a gap
  const rounds = all.trim().split("\n").map((line) => line.slice(0, 17)).sort();
  expect(rounds.length).toBeGreaterThanOrEqual(3);
  const expected = Array.from({ length: 60 }, (_, at) => `round ${String(at >> 1).padStart(2, "0")} worker ${at % 2}`);
  expect(rounds).toEqual(expected.slice(-rounds.length));
  expect(lines.at(-1)).toMatch(/^round 29/);
  expect(workers.map((worker) => worker.dropped)).toEqual([0, 0]);
});
test("four processes append to one file and put it aside: each line is there, whole, once", async () => {
  const module = join(__dirname, "../../daemon/proxy/access-log.js");
  const script = `const {AccessLog,logBounds}=require(${JSON.stringify(module)});(async()=>{const log=new AccessLog(process.argv[1],{warn(m){console.error(m)}},{...logBounds,fileBytes:20000});for(let i=0;i<200;i++){for(let j=0;j<5;j++)log.add("site-a","w"+process.argv[2]+" "+i+"."+j+" "+"y".repeat(i)+" end\\n");await log.flush();}if(log.dropped>0)throw new Error("dropped")})()`;
  const { spawn } = await import("node:child_process");
  const codes = await Promise.all([0, 1, 2, 3].map((at) => new Promise<number | null>((resolve) => spawn(process.execPath, ["-e", script, folder, String(at)], { stdio: "inherit" }).on("exit", resolve))));
  expect(codes).toEqual([0, 0, 0, 0]);
  expect(readdirSync(folder).length).toBeGreaterThan(5);
  const lines = readdirSync(folder).map(text).join("").trim().split("\n").sort();
  const expected = [0, 1, 2, 3].flatMap((at) => Array.from({ length: 1000 }, (_, n) => `w${at} ${Math.floor(n / 5)}.${n % 5} ${"y".repeat(Math.floor(n / 5))} end`)).sort();
  expect(lines).toEqual(expected);
});

const bounds: LogBounds = { fileBytes: 10, unitBytes: 30, allBytes: 50, keepMs: 1_000 };
const file = (unit: string, path: string, bytes: number, at: number) => ({ unit, path, bytes, atMs: at });
test.each<[string, ReturnType<typeof file>[], string[]]>([
  ["nothing within the bounds", [file("a", "a1", 10, 9_500), file("a", "a", 10, 9_900)], []],
  ["what is too old", [file("a", "a1", 1, 8_000), file("b", "b", 1, 9_900)], ["a1"]],
  ["what is beyond a site's share, oldest first", [file("a", "a", 10, 9_990), file("a", "a2", 20, 9_300), file("a", "a1", 20, 9_200)], ["a1"]],
  ["of whoever takes most", [file("b", "b1", 9, 9_100), file("a", "a1", 15, 9_200), file("a", "a", 15, 9_900), file("c", "c", 20, 9_150)], ["a1"]],
  ["the file that is written, if there is no other", [file("a", "a", 40, 9_900)], ["a"]],
])("removed: %s", (_name, files, expected) => {
  expect(logsToRemove(files, bounds, 10_000)).toEqual(expected);
});

test("the tail of a log reaches into what was put aside; several nodes' are one", async () => {
  writeFileSync(join(folder, "site-a.log.20261103T170509123Z"), "2\n3\n");
  writeFileSync(join(folder, "site-a.log.20261102T170509123Z"), "0\n1\n");
  writeFileSync(join(folder, "site-a.log"), "4\n");
  writeFileSync(join(folder, "site-ab.log"), "other\n");
  expect(await readAccessLog(folder, "site-a", 4)).toEqual(["1", "2", "3", "4"]);
  const line = (second: number, words: string): string => `192.0.2.1 - - [03/Nov/2026:17:05:0${second} +0000] "${words}"`;
  expect(mergeLines([[line(1, "a"), line(3, "b")], [line(2, "c"), line(3, "d")]], 3)).toEqual([line(2, "c"), line(3, "b"), line(3, "d")]);
});
