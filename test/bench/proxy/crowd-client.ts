import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { onLines } from "../../../daemon/proxy/channel.js";
import { answerReader } from "./answer-reader.js";

/**
 * `crowd-client.js PORT HOST COUNT [tls]`: opens so many connections, 200 at a time, and sends one request on each. Says {sent} when all have been sent, and {statuses, failed, latestMs, earliestMs} (wall clock, of
 * answers with 200) when each has its answer or is lost. Keeps the connections until stdin ends.
 */
export type FromCrowd = { sent: number } | { statuses: Record<string, number>; failed: number; earliestMs: number; latestMs: number };
const [port, host, count, secure] = [Number(process.argv[2]), String(process.argv[3]), Number(process.argv[4]), process.argv[5] === "tls"];
const request = `GET /1k HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const nowMs = (): number => performance.timeOrigin + performance.now();
const statuses: Record<string, number> = {};
let [begun, sent, ended, failed, earliestMs, latestMs] = [0, 0, 0, 0, Number.POSITIVE_INFINITY, 0];
const tell = (message: FromCrowd): void => void process.stdout.write(`${JSON.stringify(message)}\n`);

function settle(): void {
  ended += 1;
  if (ended === count) tell({ statuses, failed, earliestMs, latestMs });
}
function settleSent(): void {
  sent += 1;
  if (sent === count) tell({ sent });
  else if (begun < count) open();
}
function open(): void {
  begun += 1;
  const read = answerReader();
  let [done, wrote] = [false, false];
  const lose = (): void => {
    if (!wrote) settleSent();
    wrote = true;
    if (done) return;
    done = true;
    failed += 1;
    settle();
  };
  const ready = (): void => {
    socket.write(request);
    wrote = true;
    settleSent();
  };
  const socket = secure ? connectTls({ port, host: "127.0.0.1", servername: host, rejectUnauthorized: false }, ready) : connect({ port, host: "127.0.0.1", noDelay: true }, ready);
  socket.on("data", (chunk) => {
    if (done) return;
    const status = read(chunk);
    if (status === undefined) return;
    done = true;
    statuses[status] = (statuses[status] ?? 0) + 1;
    if (status === "200") {
      latestMs = nowMs();
      earliestMs = Math.min(earliestMs, latestMs);
    }
    settle();
  });
  socket.on("error", lose);
  socket.on("close", lose);
}
for (let i = 0; i < Math.min(200, count); i += 1) open();
onLines(process.stdin, () => undefined);
process.stdin.once("end", () => process.exit(0));
