import { killMatrix } from "../support/kill-matrix-suite.js";

jest.setTimeout(420_000);
killMatrix("kill", [4, 1, 2, 3, 5]);
