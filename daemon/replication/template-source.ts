import type { ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { NodeContext } from "../context.js";
import { HcError } from "../lib/errors.js";
import { zfsFailure } from "../zfs/errors.js";
import { frame } from "./frames.js";
import type { RateLimit } from "./rate-limit.js";
import { wireVersion } from "./wire.js";

const maxConcurrent = 2;

/**
 * `GET /peer/v1/templates/<name>/<version>?have=<guid>`: the next snapshot of `tmpl-<name>` after the one with guid `have` (the first one when
 * empty) on the way to `version`, so that every version arrives, in order, each as an increment of the one before.
 */
export class TemplateSource {
  private serving = 0;
  public constructor(
    private readonly context: Pick<NodeContext, "cluster" | "zfs">,
    private readonly rate: RateLimit,
  ) {}
  public async serve(template: string, version: string, have: string, response: ServerResponse): Promise<void> {
    if (this.serving >= maxConcurrent) throw new HcError("LIMIT_EXCEEDED", `${maxConcurrent} templates are being sent already.`);
    this.serving += 1;
    const abort = new AbortController();
    try {
      const dataset = `${this.context.cluster.dataset}/tmpl-${template}`;
      const snapshots = await this.context.zfs.snapshots(dataset).catch((error: unknown) => {
        if (zfsFailure(error) === "missing") return [];
        throw error;
      });
      const wanted = snapshots.findIndex((snapshot) => snapshot.name === version);
      if (wanted < 0) throw new HcError("NOT_FOUND", `The template ${template}@${version} is not here.`);
      const base = have === "" ? -1 : snapshots.findIndex((snapshot) => snapshot.guid === have);
      const next = snapshots[base + 1];
      if ((have !== "" && base < 0) || base >= wanted || next === undefined) throw new HcError("NO_COMMON_SNAPSHOT", `The template ${template} here has no way from guid ${have} to ${version}.`);
      const own = (await this.context.zfs.look(dataset))?.dataset;
      const from = snapshots[base];
      const { stream, done } = this.context.zfs.send(`${dataset}@${next.name}`, from === undefined ? undefined : `${dataset}@${from.name}`, abort.signal);
      done.catch(() => undefined);
      const head = { version: wireVersion, unit: `tmpl-${template}`, epoch: 0, snapshot: next.name, guid: next.guid, baseGuid: from?.guid ?? "", clone: false, properties: own?.user ?? {}, keep: [] };
      response.writeHead(200, { "content-type": "application/x-hybridcluster-stream" });
      await pipeline(frame(head, this.rate.through(stream, abort.signal)), response);
    } finally {
      abort.abort();
      this.serving -= 1;
    }
  }
}
