/** Bounds of one worker (DESIGN invariant 8). Times in ms. */
export const limits = {
  connections: 10_000,
  /** Of the peer port, counted apart: who fills the public port must not cut this node off from the others. */
  peerConnections: 4_000,
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
  heldRequests: 1_000,
  heldPerUnit: 250,
  idlePerUpstream: 32,
  idleUpstreamMs: 4_000,
  errorsPerUnit: 20,
} as const;
