import { killMatrix } from "../support/kill-matrix-suite.js";

jest.setTimeout(420_000);
// four labs, so that each kind of victim is struck while everything is being made
for (const first of [4, 5, 6, 7]) killMatrix(`soak${first}`, Array.from({ length: 5 }, (_, index) => first + 4 + index * 5));
