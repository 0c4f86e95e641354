import { type CommandRunner, commandFailed, runOk } from "../../daemon/lib/command.js";
import type { LabNet, NodeNet } from "./addresses.js";

const timeoutMs = 10_000;

async function ignoring(runner: CommandRunner, argv: readonly string[], harmless: RegExp): Promise<void> {
  const result = await runner.run(argv, { timeoutMs });
  if (result.code !== 0 && !harmless.test(result.stderr)) throw commandFailed(argv, result);
}

/** The lab's bridge with the machine's addresses on it; nothing else of the machine's network is touched, no setting changed. */
export async function ensureBridge(runner: CommandRunner, net: LabNet): Promise<void> {
  const { bridge } = net;
  // snooping off: a new port would miss the first IPv6 neighbour solicitations
  await ignoring(runner, ["ip", "link", "add", bridge, "address", net.bridgeMac, "type", "bridge", "mcast_snooping", "0"], /File exists/);
  await runOk(runner, ["ip", "link", "set", bridge, "up"], { timeoutMs });
  await runOk(runner, ["ip", "addr", "replace", net.gateways.v4, "dev", bridge], { timeoutMs });
  await ignoring(runner, ["ip", "-6", "addr", "replace", net.gateways.v6, "dev", bridge, "nodad"], /disabled|not supported|Permission denied/i);
}

export function removeLink(runner: CommandRunner, name: string): Promise<void> {
  return ignoring(runner, ["ip", "link", "del", name], /Cannot find device|No such device/);
}

/** Takes a node off the network, both ways, as if its cable were pulled. */
export async function cut(runner: CommandRunner, node: NodeNet): Promise<void> {
  await runOk(runner, ["ip", "link", "set", node.veth, "down"], { timeoutMs });
}
export async function heal(runner: CommandRunner, node: NodeNet): Promise<void> {
  await runOk(runner, ["ip", "link", "set", node.veth, "up"], { timeoutMs });
}

const table = "hybridcluster_lab";
/** Rules of one receiving node: whatever comes from the named addresses is dropped on arrival. */
export function dropRules(senders: readonly NodeNet[]): string {
  const rules = senders.flatMap(({ v4, v6 }) => [`ip saddr ${v4} drop`, `ip6 saddr ${v6} drop`]);
  return `table inet ${table} {}\ndelete table inet ${table}\n${rules.length === 0 ? "" : `table inet ${table} {\n chain arriving {\n  type filter hook prerouting priority -310;\n  ${rules.join("\n  ")}\n }\n}\n`}`;
}
/** One direction only: `receiver` (its runner) hears nothing more of `senders`; an empty list heals. Replaces what was cut before. */
export async function dropFrom(receiver: CommandRunner, senders: readonly NodeNet[]): Promise<void> {
  await runOk(receiver, ["nft", "-f", "-"], { timeoutMs, input: dropRules(senders) });
}
