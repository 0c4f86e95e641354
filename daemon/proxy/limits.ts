/** Bounds of one worker (DESIGN invariant 8). Times in ms. */
export const limits = {
  connections: 10_000,
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
