/** Bounds of one worker (DESIGN invariant 8). Times in ms. */
export const limits = {
  connections: 10_000,
  /** Requests at once on one HTTP/2 connection. */
  streamsPerConnection: 100,
  /** Of the peer port, counted apart: who fills the public port must not cut this node off from the others. */
  peerConnections: 4_000,
  /** Of them, those that have not shown a certificate yet: beyond it only the cluster's nodes are let in. */
  peerHandshakes: 500,
  /** Requests that one unit may have at Apache, whose workers all sites share (400): more wait at the edge as held ones. Its FPM takes 64 and queues 64. */
  inFlightPerUnit: 150,
  /** TLS of the public port. The deadline of a handshake; contexts kept, of certificates in use (39 KiB each); how long a session may be resumed, seconds. */
  handshakeMs: 10_000,
  tlsContexts: 1_000,
  tlsSessionS: 43_200,
  headMs: 15_000,
  keepAliveMs: 30_000,
  bodyIdleMs: 60_000,
  answerMs: 180_000,
  tunnelIdleMs: 3_600_000,
  connectMs: 1_000,
  verdictMs: 5_000,
  holdMs: 30_000,
  heldRequests: 8_000,
  /** The control process answers so soon whether a site's request to itself may pass its own hold; so many are asked about at once. */
  ownCallMs: 1_000,
  ownCallsAsked: 64,
  heldPerUnit: 5_000,
  /** Held requests of one unit that ask their home at once whether it takes them. */
  tryingPerUnit: 64,
  /** Held requests of one unit that are sent within one turn of the event loop: when thousands are let go, those of other sites do not wait for a hundred of them each time. */
  begunAtOnce: 16,
  /** While requests of a unit are held, the first of them asks its home so often: at first, and after a while. */
  retryHeldMs: 50,
  retryHeldCapMs: 250,
  /** Answers before the last one (1xx) to one request. */
  interimAnswers: 16,
  /** Of one request: what is more goes to disk. */
  spoolMemoryPerRequest: 256 * 1024,
  /** Of all requests of a worker. */
  spoolMemory: 64 * 1024 * 1024,
  spoolDiskPerRequest: 1024 ** 3,
  spoolDisk: 4 * 1024 ** 3,
  /** What is left free of the filesystem that the spool lies on, at least, and how often that is looked at. */
  spoolReserve: 2 * 1024 ** 3,
  spoolLookMs: 500,
  /** Before the disk, of one request. */
  spoolUnsavedBytes: 1024 * 1024,
  spoolUnsavedPieces: 1024,
  /** Before the disk, of all requests of a worker. */
  spoolUnsaved: 64 * 1024 * 1024,
  /** While bodies take more than this part of the memory or the disk that all may have, one that keeps room there must fill it again within `spoolTurnMs` at its pace of the last `paceMs`; else it makes place. */
  spoolFullShare: 0.75,
  spoolTurnMs: 600_000,
  paceMs: 30_000,
  lingerMs: 2_000,
  /** Who has not taken the end of its last answer by then is cut off. */
  lastBytesMs: 300_000,
  /** A worker that is to end lets its connections go on for so long: the keep-alive time, and one answer more. */
  leaveMs: 40_000,
  /** As many as may be in use: fewer would be closed and opened again under load. */
  idlePerUpstream: 150,
  idleUpstreamMs: 4_000,
  errorsPerUnit: 20,
} as const;
