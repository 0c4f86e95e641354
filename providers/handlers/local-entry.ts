import { validate } from "../../daemon/lib/schema.js";
import type { Handler } from "../core/handler.js";
import { projectRootOf, workspaceDir } from "../core/workspace.js";
import { ensureEntry, removeEntry, runningEntry, sameSettings } from "../lab/entry.js";
import type { EntrySettings } from "../lab/entry-record.js";
import { type LocalEntryInputs, type LocalEntryOutputs, localEntrySchema } from "../schemas/local-entry.js";

/** LocalEntry. `owner` (the workspace's folder) keeps two projects from ending each other's entries. */
export function makeLocalEntryHandler(owner: () => string): Handler<LocalEntryInputs, LocalEntryOutputs> {
  const settings = ({ name, port, targets, targetPort }: LocalEntryInputs): EntrySettings => ({ owner: owner(), name, port, targets, targetPort });
  const outputs = (inputs: LocalEntryInputs): LocalEntryOutputs => ({ ...inputs, url: `http://localhost:${inputs.port}` });
  return {
    async check(_olds, news) {
      const inputs = structuredClone(news);
      return { inputs, failures: validate(localEntrySchema, inputs) };
    },

    /** Facts of a local process: one that has stopped, or forwards elsewhere, is a change. */
    async diff(_id, olds, news) {
      const replaces = (["name", "port"] as const).filter((property) => olds[property] !== news[property]);
      const running = runningEntry(news.port);
      const same = running !== undefined && sameSettings(running, settings(news));
      return { changes: replaces.length > 0 || !same || JSON.stringify(olds.targets) !== JSON.stringify(news.targets) || olds.targetPort !== news.targetPort, replaces, deleteBeforeReplace: true };
    },

    async create(inputs) {
      await ensureEntry(settings(inputs));
      return { id: `${inputs.name}/${inputs.port}`, outs: outputs(inputs) };
    },

    async update(_id, _olds, news) {
      await ensureEntry(settings(news));
      return { outs: outputs(news) };
    },

    /** What it forwards to now; a stopped one still exists (its port and targets are in the state), and `diff` starts it again. */
    async read(id, props) {
      const running = runningEntry(props.port);
      if (running === undefined || running.owner !== owner() || running.name !== props.name) return { id, props };
      return { id, props: { ...props, targets: running.targets, targetPort: running.targetPort } };
    },

    async delete(_id, props) {
      await removeEntry(owner(), props.name, props.port);
    },
  };
}

export const localEntryHandler = makeLocalEntryHandler(() => workspaceDir(projectRootOf(process.cwd())));
