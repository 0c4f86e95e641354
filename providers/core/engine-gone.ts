/**
 * kill -9 of the engine leaves this provider process behind (with the CLI too). It ends itself when its parent has changed: what it was
 * doing on hosts ends there by its own deadline, and the next up converges.
 */
let watching: NodeJS.Timeout | undefined;

export function exitWithEngine(everyMs = 500): void {
  if (watching !== undefined || process.env["HC_KEEP_PROVIDER"] === "1") return;
  const parent = process.ppid;
  watching = setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, everyMs);
  watching.unref();
}
