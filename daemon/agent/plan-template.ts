import type { NodeInput, TemplateInput } from "./model.js";
import { templateDataset } from "./names.js";
import type { Step } from "./steps.js";

/**
 * Pure: what the builder of a template does. A build that ended with its snapshot is published (a crash may have come between);
 * anything else is built again, also after a failure: the runner's back-off bounds how often.
 */
export function planTemplate(input: NodeInput, template: TemplateInput): { steps: Step[] } {
  const record = template.record.value;
  if (record.builder !== input.node || record.state === "ready") return { steps: [] };
  const guid = input.templates.get(`${record.name}@${record.templateVersion}`);
  if (guid !== undefined) return { steps: [{ action: "publish-template", template: record.name, version: record.templateVersion, guid }] };
  const spec = template.document?.value.spec;
  if (spec === undefined || spec.version !== record.templateVersion) return { steps: [] };
  return { steps: [{ action: "build-template", template: record.name, version: spec.version, recipe: spec.recipe, settings: spec.settings, dataset: templateDataset(input.dataset, record.name) }] };
}
