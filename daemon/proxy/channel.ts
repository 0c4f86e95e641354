import type { UnitStats } from "./worker-state.js";
import type { RouteTable } from "./routes.js";
import type { CertificateUpdate } from "./tls-contexts.js";

/** A type that the other side does not know, being older, is passed over. Lines of JSON on `<run>/proxy.sock`: control listens, workers connect (and connect again when it was away). */
export type ToWorker = { type: "routes"; table: RouteTable } | { type: "deadline"; ms: number; /** Later deadlines of single units (daemon/failsafe). */ units?: Record<string, number>; /** Units whose gate is closed, until when (machineMs): told again with each beat. */ holds?: Record<string, number>; /** The control process does not know yet what the one before it held: that stays held, until its time is over. */ keepHolds?: true; /** Number of the last hold. */ round?: number; /** Those of the units whose own calls may be asked about (own-calls.ts). */ draining?: string[] } | { type: "own-call"; /** Of the question. */ id: number; passes: boolean } | { type: "leave" } | { type: "tickets"; /** base64 of 48 bytes. */ key: string } | { type: "challenges"; /** Token → answer (RFC 8555 §8.3): all there are now. */ answers: Record<string, string> } | ({ type: "certificates" } & CertificateUpdate);
export type ToControl = { type: "hello"; pid: number; version: 1; /** Of its service. */ name?: string; /** As it was started: an upgrade is seen by it. */ argv?: string[] } | { type: "report"; held: number; connections: number; inFlight: Record<string, number>; units: Record<string, UnitStats>; /** Lines; missing from a worker of the version before. */ accessLog?: { written: number; dropped: number }; refusedHeaders?: number } | { type: "holding"; /** Of held units. */ inFlight: Record<string, number>; /** Of the last `deadline` that it has heard. */ round?: number } | { type: "own-call"; /** Answered with it. */ id: number; unit: string; /** Of the last `deadline` that it has heard. */ round: number; /** Of the unit, with this request. */ inFlight: number };

const maxLineBytes = 64 * 1024 * 1024;

/** Splits a stream into lines and hands each over as JSON; a line that is too long or is no JSON ends the stream. */
export function onLines(socket: { on(event: "data", listener: (chunk: Buffer) => void): unknown; destroy(error?: Error): unknown }, take: (message: unknown) => void): void {
  let rest: Buffer[] = [];
  let bytes = 0;
  socket.on("data", (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...rest, chunk.subarray(from, end)]).toString("utf8");
      rest = [];
      bytes = 0;
      from = end + 1;
      try {
        take(JSON.parse(line));
      } catch (error) {
        socket.destroy(error as Error);
        return;
      }
    }
    rest.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > maxLineBytes) socket.destroy(new Error("line too long"));
  });
}
