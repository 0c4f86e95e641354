import type { Socket } from "node:net";
import { type Book, CertificateBook } from "../certificates/book.js";
import { openTickets } from "../certificates/ticket-keys.js";
import type { NodeContext } from "../context.js";
import type { ToWorker } from "./channel.js";
import type { CertificateUpdate } from "./tls-contexts.js";

/** Entries of one message: a line stays far below the channel's limit. What waits for a worker to read waits here. */
const entriesPerMessage = 200;
const unreadBytes = 4 * 1024 * 1024;
type Send = (socket: Socket, message: ToWorker) => void;

/** Pure: what makes the first book the second one; in messages of bounded size. */
export function updates(before: Book | undefined, after: Book): CertificateUpdate[] {
  const changes: { certificate?: [string, { chain: string; key: string } | null]; name?: [string, string | null] }[] = [];
  for (const [id, one] of after.certificates) if (before?.certificates.has(id) !== true) changes.push({ certificate: [id, one] });
  for (const [name, id] of after.names) if (before?.names.get(name) !== id) changes.push({ name: [name, id] });
  // what names need is there before them, and goes after them
  for (const name of before?.names.keys() ?? []) if (!after.names.has(name)) changes.push({ name: [name, null] });
  for (const id of before?.certificates.keys() ?? []) if (!after.certificates.has(id)) changes.push({ certificate: [id, null] });
  const parts: CertificateUpdate[] = [];
  for (let at = 0; at < changes.length; at += entriesPerMessage) {
    const part = changes.slice(at, at + entriesPerMessage);
    parts.push({ certificates: Object.fromEntries(part.flatMap(({ certificate }) => (certificate === undefined ? [] : [certificate]))), names: Object.fromEntries(part.flatMap(({ name }) => (name === undefined ? [] : [name]))) });
  }
  if (before !== undefined) return parts;
  const [first = { certificates: {}, names: {} }, ...rest] = parts;
  const all: CertificateUpdate[] = [{ reset: true, ...first }, ...rest];
  return [...all.slice(0, -1), { ...(all.at(-1) as CertificateUpdate), complete: true }];
}

/** The control process' side of certificates: opens what lies sealed, and tells each worker all of it once, then what changes. Key of session tickets and challenges of a CA too. */
export class CertificateFeed {
  private readonly book: CertificateBook;
  private current: Book | undefined;
  private tickets: string | undefined;
  private ticketsFrom: unknown;
  private challenges: Readonly<Record<string, string>> = {};
  private challengesFrom: unknown;
  private madeFrom: readonly unknown[] = [];
  private told = new Set<string>();
  private readonly waiting = new Map<Socket, CertificateUpdate[]>();

  public constructor(private readonly context: Pick<NodeContext, "view" | "sealer" | "log">, private readonly send: Send) {
    this.book = new CertificateBook(context.sealer);
  }

  /** At each change of the picture. */
  public refresh(workers: readonly Socket[]): void {
    const state = this.context.view.current();
    if (state.tickets !== this.ticketsFrom) {
      this.ticketsFrom = state.tickets;
      this.tickets = openTickets(state.tickets?.value, this.context.sealer);
      if (this.tickets !== undefined) for (const socket of workers) this.send(socket, { type: "tickets", key: this.tickets });
    }
    if (state.challenges !== this.challengesFrom) {
      this.challengesFrom = state.challenges;
      this.challenges = Object.fromEntries([...(state.challenges ?? [])].map(([token, { value }]) => [token, value.answer]));
      for (const socket of workers) this.send(socket, { type: "challenges", answers: this.challenges });
    }
    // maps are replaced when they change (state/apply.ts)
    const from = [state.desired, state.certificates];
    if (this.current !== undefined && from.every((part, at) => part === this.madeFrom[at])) return;
    this.madeFrom = from;
    const next = this.book.of(state);
    for (const [what, why] of next.problems) if (!this.told.has(what)) this.context.log.warn({ certificate: what, why }, "a certificate cannot be opened");
    this.told = new Set(next.problems.keys());
    const changes = updates(this.current ?? { certificates: new Map(), names: new Map(), problems: new Map() }, next);
    this.current = next;
    for (const socket of workers) this.tell(socket, changes);
  }

  /** A worker that has just come. */
  public joined(socket: Socket): void {
    if (this.tickets !== undefined) this.send(socket, { type: "tickets", key: this.tickets });
    this.send(socket, { type: "challenges", answers: this.challenges });
    if (this.current !== undefined) this.tell(socket, updates(undefined, this.current));
  }

  /** Were the workers told to answer this challenge? */
  public answers(token: string): boolean {
    return Object.hasOwn(this.challenges, token);
  }

  private tell(socket: Socket, changes: readonly CertificateUpdate[]): void {
    if (changes.length === 0) return;
    const waiting = this.waiting.get(socket);
    if (waiting !== undefined) return void waiting.push(...changes);
    const queue = [...changes];
    this.waiting.set(socket, queue);
    const end = (): void => void this.waiting.delete(socket);
    const pump = (): void => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        this.send(socket, { type: "certificates", ...next });
        if (queue.length > 0 && socket.writableLength > unreadBytes) return void socket.once("drain", pump);
      }
      socket.off("close", end);
      end();
    };
    socket.once("close", end);
    pump();
  }
}
