import { connect, type Socket } from "node:net";
import { onLines } from "../../../daemon/proxy/channel.js";
import { answerReader } from "./answer-reader.js";

/**
 * `other-site.js PORT HOST PER-SECOND`: requests at a steady pace on connections that are kept, one after the other on each. Latency counts from when a request was due, so that one slow answer
 * does not hide those behind it. On a line on stdin it stops, says [[dueMs (wall clock), latencyMs | -1 for another answer than 200, or none], …] and ends.
 */
export type Seen = readonly [dueMs: number, latencyMs: number];
const [port, host, perSecond] = [Number(process.argv[2]), String(process.argv[3]), Number(process.argv[4])];
const request = `GET /1k HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const nowMs = (): number => performance.timeOrigin + performance.now();
const seen: Seen[] = [];
const queue: number[] = [];
const free: Socket[] = [];
const busy = new Map<Socket, { dueMs: number }>();

function work(): void {
  while (queue.length > 0 && free.length > 0) {
    const socket = free.pop() as Socket;
    busy.set(socket, { dueMs: queue.shift() as number });
    socket.write(request);
  }
}
function open(): void {
  const read = answerReader();
  const socket = connect({ port, host: "127.0.0.1", noDelay: true }, () => {
    free.push(socket);
    work();
  });
  socket.on("data", (chunk) => {
    const mine = busy.get(socket);
    if (mine === undefined) return;
    const status = read(chunk);
    if (status === undefined) return;
    busy.delete(socket);
    seen.push([mine.dueMs, status === "200" ? nowMs() - mine.dueMs : -1]);
    free.push(socket);
    work();
  });
  socket.on("error", () => undefined); // close follows
  socket.on("close", () => {
    const mine = busy.get(socket);
    busy.delete(socket);
    const at = free.indexOf(socket);
    if (at >= 0) free.splice(at, 1);
    if (mine !== undefined) seen.push([mine.dueMs, -1]);
    open();
  });
}
for (let i = 0; i < 20; i += 1) open();
const beganMs = nowMs();
let asked = 0;
const pace = setInterval(() => {
  const due = Math.floor(((nowMs() - beganMs) / 1000) * perSecond);
  for (; asked < due; asked += 1) queue.push(beganMs + ((asked + 1) / perSecond) * 1000);
  work();
}, 1);
onLines(process.stdin, () => {
  clearInterval(pace);
  for (const dueMs of [...queue, ...[...busy.values()].map((one) => one.dueMs)]) seen.push([dueMs, -1]);
  process.stdout.write(`${JSON.stringify(seen)}\n`, () => process.exit(0));
});
