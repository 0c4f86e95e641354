"use strict";
// The order of test files: the longest first, so that no worker waits at the end for one that began last. Jest knows how long a file takes from the run before, and a fresh clone had none.
const path = require("node:path");
const { default: Sequencer } = require("@jest/test-sequencer");

/** Seconds on two cores, of what takes long; to be put right where one is off by half. */
const seconds = {
  lab: { recovery: 315, program: 268, health: 193, "grow-shrink": 191, demo: 155, "vault-several": 129, vault: 126, "kill-matrix": 100, host: 100, packed: 84, move: 82, alerts: 79, voters: 78, chaos: 76, agent: 49, control: 48, services: 37, secrets: 34, replication: 26 },
  program: { "engine-failures": 72, "engine-options": 49, "engine-steps": 46, "engine-state": 26 },
  simulation: { failover: 83, "week-away": 32 },
  model: { model: 35 },
  unit: { "providers/converge": 20, "proxy-bodies": 19 },
};
const known = new Map(Object.entries(seconds).flatMap(([level, files]) => Object.entries(files).map(([name, value]) => [`${level}/${name}.test.js`, value])));

module.exports = class extends Sequencer {
  sort(tests) {
    // sets each `duration` that Jest knows, ms; what nobody knows stays behind in its order, by size
    const sorted = super.sort(tests);
    const expectedS = ({ path: file, context, duration }) => (duration !== undefined ? duration / 1000 : (known.get(path.relative(path.join(context.config.rootDir, "test"), file)) ?? 0));
    const first = (test) => (this.hasFailed(test) ? 1 : 0);
    return sorted.sort((a, b) => first(b) - first(a) || expectedS(b) - expectedS(a));
  }
};
