import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LocalDataset, NodeInput, TemplateInput, UnitInput } from "../../daemon/agent/model.js";
import { planNode } from "../../daemon/agent/plan.js";
import { serviceText, siteRun, siteText } from "../../daemon/agent/site-run.js";
import { type DesiredDocument, siteDefaults } from "../../daemon/lib/documents.js";
import type { CustomerRecord, TemplateRecord, TrashRecord, UnitRecord } from "../../daemon/lib/records.js";

const folder = join(process.cwd(), "test/fixtures/agent-plan");
const runtime = { platform: "linux" as const, php: "8.2" };
const acme: CustomerRecord = { version: 1, name: "acme", uid: 20000, gid: 20000, user: "hc-acme" };
const document: DesiredDocument<"site"> = { version: 1, kind: "site", name: "wiki", origin: "git", spec: { ...(structuredClone(siteDefaults) as never as DesiredDocument<"site">["spec"]), customer: "acme", template: "php", hostnames: ["wiki.localhost"] } };

interface UnitCase { id: string; record?: Partial<UnitRecord> | null; document?: null; local?: Partial<LocalDataset>; service?: UnitInput["service"]; trash?: Partial<TrashRecord>[]; homeHolds?: boolean; config?: string; configured?: string; started?: string; checked?: string }
interface Case {
  what: string; node: string; session: NodeInput["session"]; recovering?: boolean; units?: UnitCase[]; templates?: Record<string, string>; trashed?: Record<string, Partial<LocalDataset>>;
  trash?: Partial<TrashRecord>[]; builds?: { record: Partial<TemplateRecord> }[]; users?: NodeInput["users"]; configured?: string;
}
const dataset = (name: string, local: Partial<LocalDataset>): LocalDataset => ({ dataset: name, mounted: false, readonly: false, quotaBytes: "0", usedBytes: "1", user: {}, snapshots: [], ...local });
const trashRecord = (partial: Partial<TrashRecord>): TrashRecord => ({ version: 1, id: "", unit: "site-wiki", epoch: 1, nodes: [], deletedAtMs: 0, expiresAtMs: 0, document, ...partial });

/** A case says only what matters; "@" stands for the text of the site as it should be. */
function input(given: Case): NodeInput {
  const sites: string[] = [];
  const units = (given.units ?? []).map((unit): UnitInput => {
    const record = unit.record === null || unit.record === undefined ? undefined : ({ version: 1, unit: unit.id, kind: "site", name: "wiki", runtime, origin: { template: "php", version: "1", guid: "t1" }, ...unit.record } as UnitRecord);
    const run = record === undefined ? undefined : siteRun(given.node, "/hc", record, document, acme);
    const text = run === undefined ? "" : siteText(run);
    if (run !== undefined) sites.push(serviceText(run));
    const fill = (value: string | undefined): string => (value === "@" ? text : (value ?? ""));
    const local = unit.local === undefined ? undefined : dataset(`hpool/hc/${unit.id}`, { ...unit.local, user: { ...unit.local.user, ...(unit.local.user?.["definition"] === "@" ? { definition: JSON.stringify(document) } : {}) } });
    return {
      id: unit.id, record: record === undefined ? undefined : { value: record, revision: "9" }, document: unit.document === null ? undefined : { value: document, revision: "5" }, customer: acme, local,
      service: unit.service ?? "none", trash: (unit.trash ?? []).map(trashRecord), homeHolds: unit.homeHolds ?? false, config: unit.config, configured: unit.configured === "@" && run !== undefined ? serviceText(run) : (unit.configured ?? ""), started: fill(unit.started), checked: fill(unit.checked),
    };
  });
  const trash = [...(given.trash ?? []), ...(given.units ?? []).flatMap((unit) => unit.trash ?? [])].map(trashRecord);
  return {
    node: given.node, dataset: "hpool/hc", data: "/hc", session: given.session, recovering: given.recovering ?? false, units,
    trashed: new Map(Object.entries(given.trashed ?? {}).map(([id, local]) => [id, dataset(`hpool/hc/trash/${id}`, local)])),
    trash: new Map(trash.map((value) => [value.id, { value, revision: "3" }])),
    templates: new Map(Object.entries(given.templates ?? {})),
    builds: (given.builds ?? []).map(({ record }): TemplateInput => ({ record: { value: { version: 1, name: "php", templateVersion: "1", builder: given.node, state: "building", guid: "", error: "", runtime, ...record }, revision: "2" }, document: { value: { version: 1, kind: "template", name: "php", origin: "git", spec: { recipe: "php", version: "1", settings: {} } }, revision: "1" }, local: undefined })),
    customers: new Map([["acme", acme]]),
    users: given.users ?? [{ user: "hc-acme", uid: 20000, gid: 20000 }],
    configured: given.configured === "@" ? `[${sites.join(",")}]` : (given.configured ?? "[]"),
  };
}

/** Plans are shown short: long texts that follow from the input are cut. */
function shown(given: Case): unknown {
  const plan = planNode(input(given));
  const short = (_key: string, value: unknown): unknown => (typeof value === "string" && value.startsWith("{") ? "(JSON)" : value);
  return JSON.parse(JSON.stringify({ work: plan.work.map(({ key, steps }) => ({ key, steps: steps.map((step) => (step.action === "configure" ? { action: step.action, sites: step.sites.map((site) => site.unit) } : "site" in step ? { ...step, site: step.site.unit } : step)) })), notes: Object.fromEntries(plan.notes) }, short));
}

describe("plan of the agent", () => {
  const cases = readdirSync(folder).sort();
  it.each(cases)("%s", (name) => {
    const given = JSON.parse(readFileSync(join(folder, name, "input.json"), "utf8")) as Case;
    const path = join(folder, name, "plan.json");
    const seen = shown(given);
    if (process.env["HC_UPDATE_GOLDEN"] === "1") writeFileSync(path, `${JSON.stringify(seen, undefined, 1)}\n`);
    expect(existsSync(path)).toBe(true);
    expect(seen).toEqual(JSON.parse(readFileSync(path, "utf8")));
  });

  it("gives the same steps for the same input, and changes nothing in it", () => {
    for (const name of cases) {
      const given = JSON.parse(readFileSync(join(folder, name, "input.json"), "utf8")) as Case;
      const first = input(given);
      const text = JSON.stringify(first, (_key, value: unknown) => (value instanceof Map ? [...value] : value));
      expect(JSON.stringify(planNode(first).work)).toBe(JSON.stringify(planNode(input(given)).work));
      expect(JSON.stringify(first, (_key, value: unknown) => (value instanceof Map ? [...value] : value))).toBe(text);
    }
  });

  it("holds its invariants in every case", () => {
    for (const name of cases) {
      const given = JSON.parse(readFileSync(join(folder, name, "input.json"), "utf8")) as Case;
      const node = input(given);
      for (const { steps } of planNode(node).work)
        for (const step of steps) {
          if (!node.session.live) expect(["stop", "unmount"]).toContain(step.action);
          const unit = "unit" in step ? node.units.find((item) => item.id === step.unit) : undefined;
          if (step.action === "mount-writable" || step.action === "start") expect(unit?.record?.value.home).toBe(node.node);
          if (step.action === "clone-template") expect(unit?.record?.value.state).toBe("creating");
          if (step.action === "purge") expect(node.trash.get(step.id)?.value.purge).toBe(true);
          if (unit?.local !== undefined && unit.local.user["unit"] !== unit.id) throw new Error(`${name} touches a foreign dataset by ${step.action}`);
        }
    }
  });
});
