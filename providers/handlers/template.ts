import { until } from "../../daemon/lib/backoff.js";
import { HcError, messageOf } from "../../daemon/lib/errors.js";
import type { TemplateRecord } from "../../daemon/lib/records.js";
import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { currentHosts } from "../core/api-connections.js";
import { deleteDocument, getIfAny, putDocument } from "../core/documents.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { progress } from "../core/progress.js";
import { otherCluster } from "../schemas/cluster.js";
import { type TemplateInputs, type TemplateOutputs, templateSchema } from "../schemas/template.js";

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

async function converge(inputs: TemplateInputs): Promise<TemplateOutputs> {
  const { hosts } = inputs.connection;
  await putDocument(hosts, "template", inputs.name, { recipe: inputs.recipe, version: inputs.version, settings: inputs.settings }, inputs.adopt);
  try {
    let builder = "";
    const record = await until(`template ${inputs.name}`, { withinMs: inputs.timeouts.create * 1000, firstMs: 50, capMs: 500 }, async () => {
      const seen = await getIfAny<TemplateRecord>(hosts, `/v1/templates/${inputs.name}/${inputs.version}`);
      if (seen?.builder !== undefined && seen.builder !== builder) {
        builder = seen.builder;
        progress("Template", inputs.name, `is built on ${builder}`);
      }
      if (seen?.state === "failed") throw new HcError("COMMAND_FAILED", `${inputs.name}@${inputs.version} could not be built on ${seen.builder}: ${seen.error}`);
      return seen?.state === "ready" ? seen : undefined;
    });
    return { ...inputs, guid: record.guid };
  } catch (error) {
    throw new PartialError(`Template ${inputs.name}: ${messageOf(error)}`, inputs.name, { ...inputs, guid: "" });
  }
}

export const templateHandler: Handler<TemplateInputs, TemplateOutputs> = {
  check: async (olds, news) => {
    const inputs = structuredClone(news);
    const failures = validate(templateSchema, inputs);
    // a version names what was built: other contents under the same one would reach no node, and `up` would claim that they did
    const changed = (["recipe", "settings"] as const).find((field) => olds[field] !== undefined && !holdsUnknown([olds[field], inputs[field]]) && !same(olds[field], inputs[field]));
    if (failures.length === 0 && changed !== undefined && olds.name === inputs.name && olds.version === inputs.version)
      failures.push({ property: "version", reason: `${changed} changes what is built, and ${JSON.stringify(inputs.version)} names what is there; give another version (existing sites stay as they are)` });
    return { inputs, failures };
  },
  diff: async (_id, olds, news) => {
    const replaces = (["name"] as const).filter((field) => olds[field] !== news[field]) as string[];
    if (otherCluster(olds.connection, news.connection)) replaces.push("connection");
    const changed = (["recipe", "version", "settings"] as const).some((field) => !same(olds[field], news[field]));
    return { changes: changed || replaces.length > 0, replaces, deleteBeforeReplace: true };
  },
  create: async (inputs) => ({ id: inputs.name, outs: await converge(inputs) }),
  update: async (_id, _olds, news) => ({ outs: await converge(news) }),
  read: async (id, props) => {
    const document = await getIfAny<{ document: { spec: { recipe: string; version: string; settings: Record<string, string> } } }>(currentHosts(props.connection), `/v1/documents/template/${props.name}`);
    return document === undefined ? { id: "", props } : { id, props: { ...props, ...document.document.spec } };
  },
  delete: async (_id, props) => deleteDocument(props.connection, "template", props.name),
};
