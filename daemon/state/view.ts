import { pauseMs } from "../lib/backoff.js";
import { delay } from "../lib/abort.js";
import { HcError, messageOf } from "../lib/errors.js";
import type { Logger } from "../lib/log.js";
import { applyChanges, type Change, emptyPicture, type Picture } from "./apply.js";
import type { ClusterState, View } from "./cluster-state.js";
import type { Store, WatchEvent } from "./store.js";

const PREFIX = "/hc/";

/**
 * The whole picture, listed once and then watched. Listeners are called once a turn of the event loop, and not for bare heartbeats
 * (sessions whose counter grew); those are told to `onSession` listeners, each with the nodes whose session changed.
 */
export class WatchedView implements View {
  private picture: Picture = emptyPicture;
  private ready = false;
  private pending: Change[] = [];
  private pendingRevision = "0";
  private queued = false;
  private readonly listeners = new Set<(state: ClusterState) => void>();
  private readonly sessionListeners = new Set<(nodes: readonly string[]) => void>();

  public constructor(private readonly store: Store, private readonly log: Logger) {}

  public current(): ClusterState {
    if (!this.ready) throw new HcError("NOT_READY", "The cluster's state was not read yet: etcd has not answered since hcd started.");
    return this.picture.state;
  }

  public isReady(): boolean {
    return this.ready;
  }

  public onChange(listener: (state: ClusterState) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  public onSession(listener: (nodes: readonly string[]) => void): () => void {
    this.sessionListeners.add(listener);
    return () => void this.sessionListeners.delete(listener);
  }

  /** Resolves after the first full read; then follows until the signal fires. */
  public async start(signal: AbortSignal): Promise<void> {
    await this.load(signal);
  }

  private async load(signal: AbortSignal): Promise<void> {
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        const { revision, items } = await this.store.list(PREFIX);
        const before = this.picture.state;
        const { picture, unreadable, sessions } = applyChanges(emptyPicture, items.map((item) => ({ key: item.key, value: item.value, modRevision: item.modRevision })), revision);
        this.report(unreadable);
        this.pending = [];
        this.picture = picture;
        this.ready = true;
        // Only sessions that really changed count as signs of life.
        this.tell(sessions.filter((node) => before.sessions.get(node)?.revision !== picture.state.sessions.get(node)?.revision), false);
        this.store.watch(PREFIX, revision, { onEvents: (events, at) => this.take(events, at), onReset: () => void this.load(signal) }, signal);
        return;
      } catch (error) {
        if (attempt <= 2 || attempt % 20 === 0) this.log.warn({ reason: messageOf(error), attempt }, "cluster state could not be read");
        await delay(pauseMs(attempt, { firstMs: 100, capMs: 2000 }), signal).catch(() => undefined);
      }
    }
  }

  private take(events: readonly WatchEvent[], revision: string): void {
    for (const event of events) this.pending.push({ key: event.key, value: event.type === "delete" ? undefined : event.value, modRevision: event.modRevision });
    this.pendingRevision = revision;
    if (this.queued) return;
    this.queued = true;
    setImmediate(() => this.flush());
  }

  private flush(): void {
    this.queued = false;
    const changes = this.pending;
    if (changes.length === 0) return;
    this.pending = [];
    const { picture, quiet, unreadable, sessions } = applyChanges(this.picture, changes, this.pendingRevision);
    this.report(unreadable);
    this.picture = picture;
    this.tell(sessions, quiet);
  }

  private tell(sessions: readonly string[], quiet: boolean): void {
    if (sessions.length > 0) for (const listener of [...this.sessionListeners]) listener(sessions);
    if (quiet) return;
    for (const listener of [...this.listeners]) {
      try {
        listener(this.picture.state);
      } catch (error) {
        this.log.error({ err: error }, "a listener of the view failed");
      }
    }
  }

  private report(unreadable: readonly string[]): void {
    for (const key of unreadable) this.log.warn({ record: key }, "record cannot be understood: made by a newer hcd?");
  }
}
