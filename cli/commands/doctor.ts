import { errorCode, HcError, messageOf } from "../../daemon/lib/errors.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import type { Status } from "../../daemon/lib/status.js";
import { workspaceDir } from "../../providers/core/workspace.js";
import { planForPeople } from "../../providers/handlers/host.js";
import { preflight as labPreflight } from "../../providers/lab/preflight.js";
import type { HostInputs } from "../../providers/schemas/host.js";
import { apiCall } from "../../providers/ssh/api-client.js";
import { runOperation } from "../../stacks/engine/index.js";
import { buildUserProject } from "../build-user.js";
import { connectionFiles } from "../cluster-client.js";
import { command, type CommandContext } from "../context.js";
import { json } from "../output.js";
import { chooseStack } from "../project.js";

interface DoctorArgs { plan: string | undefined; stack: string | undefined }
interface Finding { ok: boolean; what: string; detail: string; next: string }

/** Inputs of the named Host as the program says them now: by a preview, which changes nothing. */
async function hostInputs(name: string, context: CommandContext<DoctorArgs>): Promise<HostInputs> {
  const project = context.project();
  buildUserProject(project, context.output);
  let found: HostInputs | undefined;
  const names: string[] = [];
  const result = await runOperation({
    kind: "preview", projectRoot: project.root, program: project.program, project: project.name, stack: chooseStack(project, context.args.stack), workspace: workspaceDir(project.root), configOverrides: {}, events: () => undefined,
    beforeApply: async (plan) => {
      for (const step of plan.filter((each) => each.type.endsWith(":Host") && each.newInputs !== undefined)) {
        names.push(step.name);
        if (step.name === name) found = step.newInputs as unknown as HostInputs;
      }
    },
    signal: new AbortController().signal,
  });
  if (found === undefined) throw new HcError("NOT_FOUND", `The program has no Host ${name}; it has ${names.join(", ") || "none"}.${result.diagnostics.length > 0 ? ` ${result.diagnostics.join("; ")}` : ""}`);
  return found;
}

async function examine(context: CommandContext<DoctorArgs>): Promise<Finding[]> {
  const findings: Finding[] = [];
  const look = async (what: string, next: string, act: () => Promise<string>): Promise<void> => {
    try {
      findings.push({ ok: true, what, detail: await act(), next: "" });
    } catch (error) {
      findings.push({ ok: false, what, detail: messageOf(error), next });
    }
  };
  const project = context.project();
  const files = connectionFiles(project.root);
  if (files.length === 0) {
    await look("this machine can run a lab", "install what is missing, or name hosts of your own in the program", async () => {
      await labPreflight(new LocalRunner(), workspaceDir(project.root));
      return "namespaces, overlayfs, FUSE and network links work";
    });
    return findings;
  }
  for (const file of files)
    for (const connection of file.connections)
      await look(`${file.cluster}: ${connection.node} (${connection.address})`, `hc ssh ${connection.node}`, async () => {
        const seen = await apiCall<{ ready: boolean; reasons: string[] }>([connection], "GET", "/v1/ready", undefined, { timeoutMs: 10_000 });
        if (!seen.ready) throw new HcError("NOT_READY", seen.reasons.join("; "));
        return "ready";
      });
  for (const file of files)
    try {
      const status = await apiCall<Status>(file.connections, "GET", "/v1/status", undefined, { timeoutMs: 10_000 });
      findings.push(...status.attention.map((item) => ({ ok: false, what: file.cluster, detail: item.what, next: item.command })));
    } catch (error) {
      findings.push({ ok: false, what: file.cluster, detail: `${messageOf(error)} (${errorCode(error) ?? ""})`, next: "hc lab list" });
    }
  return findings;
}

export const doctorCommand = command<DoctorArgs>({
  command: "doctor",
  describe: "checks this machine or the cluster and says what to do; --plan HOST: what `up` would do to a machine",
  builder: (yargs) => yargs
    .option("plan", { type: "string", describe: "name of a Host in the program" })
    .option("stack", { alias: "s", type: "string" })
    .example("$0 doctor --plan fra1", "packages, users, files, ports: before anything is changed") as never,
  run: async (context) => {
    const { args, output } = context;
    if (args.plan !== undefined) {
      const plan = await planForPeople(await hostInputs(args.plan, context));
      output.out(args.json ? json(plan) : plan.lines.map((line) => `${plan.ok ? "  " : "! "}${line}\n`).join(""));
      return plan.ok ? 0 : 1;
    }
    const findings = await examine(context);
    output.out(args.json ? json(findings) : findings.map((item) => `${item.ok ? "ok " : "!! "} ${item.what}: ${item.detail}\n${item.ok ? "" : `    next: ${item.next}\n`}`).join(""));
    return findings.every((item) => item.ok) ? 0 : 1;
  },
});
