"use strict";
// Preloaded into hcd's processes by the chaos runner: their wall clock is the machine's plus the seconds in a file. The monotonic clock stays as it is.
const { readFileSync } = require("node:fs");
const file = "/etc/hc-chaos-clock";
const RealDate = Date;
let offsetMs = 0;
const look = () => {
  try {
    offsetMs = Number(readFileSync(file, "utf8")) * 1000 || 0;
  } catch {
    // being written
  }
};
look();
setInterval(look, 100).unref();
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [RealDate.now() + offsetMs] : args, newTarget),
  get: (target, key) => (key === "now" ? () => RealDate.now() + offsetMs : Reflect.get(target, key)),
});
