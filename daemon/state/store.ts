/**
 * What the daemon needs of etcd, and nothing more. `EtcdStore` (etcd's v3 JSON gateway over mutual TLS) and `MemoryStore` pass one
 * suite in test/contract. Every call has a deadline of its own; without quorum calls throw NO_QUORUM (the act may still
 * happen: DESIGN invariant 7).
 */
export interface KeyValue {
  key: string;
  value: string;
  /** Revision of the last change, decimal text. */
  modRevision: string;
}
/** `modRevision: "0"` = the key must not exist. */
export interface Compare { key: string; modRevision: string }
export type Op = { put: string; value: string; leaseId?: string } | { delete: string } | { deletePrefix: string };
export interface TxnResult { succeeded: boolean; revision: string }
export interface WatchEvent { type: "put" | "delete"; key: string; value: string; modRevision: string }
export interface Store {
  get(key: string): Promise<KeyValue | undefined>;
  list(prefix: string): Promise<{ revision: string; items: KeyValue[] }>;
  /** All ops or none, if every compare holds. */
  txn(compare: readonly Compare[], ops: readonly Op[], options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<TxnResult>;
  /**
   * Calls `onEvents` for every change of the prefix after `afterRevision`, in order, with no gap; reconnects by itself; calls
   * `onReset` when the revision was compacted away (list again). Ends when the signal fires.
   */
  watch(prefix: string, afterRevision: string, handlers: { onEvents(events: WatchEvent[], revision: string): void; onReset(): void }, signal: AbortSignal): void;
}
