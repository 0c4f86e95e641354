import { LocalRunner } from "../../../daemon/lib/local-runner.js";
import { ensureImage } from "./image.js";

/** Before the tests, so that no test's deadline covers the minutes that the kernel module takes. */
ensureImage(new LocalRunner(), (what, sinceMs) => process.stderr.write(`openzfs: ${what} (${Math.round(sinceMs / 1000)} s)\n`)).catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
