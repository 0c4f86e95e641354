import { readFileSync } from "node:fs";
import type { Lab } from "../../providers/lab/lab.js";
import { join } from "node:path";
import { clockJumpS, type Fault, type FaultKind } from "./faults.js";

const processes: Partial<Record<FaultKind, string>> = {
  // main processes by systemd, workers as hcd's own children
  "pause-hcd": "systemctl show -p MainPID --value hcd.service",
  "pause-workers": "pgrep -f '[h]cd.cjs worker'",
  "pause-fencer": "systemctl show -p MainPID --value hcd-fencer.service",
  "pause-etcd": "pgrep -x etcd",
  // the pool hangs: nothing that is written comes back
  "pause-zfs": "pgrep -x zfs-fuse",
  "pause-all": "systemctl show -p MainPID --value hcd.service hcd-fencer.service | grep .; pgrep -f '[h]cd.cjs worker'; pgrep -x etcd",
  "kill-hcd": "systemctl show -p MainPID --value hcd.service",
  "kill-workers": "pgrep -f '[h]cd.cjs worker'",
  "kill-etcd": "pgrep -x etcd",
  "kill-zfs": "pgrep -x zfs-fuse",
};
const clock = { shim: "/etc/hc-chaos-clock.cjs", offset: "/etc/hc-chaos-clock", dropIn: "/etc/systemd/system/hcd.service.d/chaos-clock.conf" };

/** From the next start of hcd on, `clock` can put the wall clock of its processes: the machine's own belongs to all nodes of the lab, and Linux has no namespace for it. */
export async function prepareClock(lab: Lab, node: string): Promise<void> {
  const shim = readFileSync(join(process.cwd(), "test", "chaos", "clock-shim.cjs"), "utf8");
  const script = `cat > ${clock.shim}; echo 0 > ${clock.offset}; mkdir -p $(dirname ${clock.dropIn}); printf '[Service]\nEnvironment="NODE_OPTIONS=--require=${clock.shim}"\n' > ${clock.dropIn}; systemctl daemon-reload; systemctl restart hcd.service`;
  const { stderr, code } = await lab.runnerOf(await lab.node(node)).run(["bash", "-ec", script], { timeoutMs: 60_000, input: shim });
  if (code !== 0) throw new Error(`${node}: no clock that can be put: ${stderr}`);
}

/** Begins a fault in the lab, through namespaces; returns what ends it. Signals go to processes of the lab's node only. */
export async function inflict(lab: Lab, { kind, node, peer, seconds }: Fault): Promise<() => Promise<void>> {
  const run = async (script: string): Promise<string> => {
    const { stdout, stderr, code } = await lab.runnerOf(await lab.node(node)).run(["bash", "-c", script], { timeoutMs: 60_000 });
    if (code !== 0) throw new Error(`${node}: ${script}: ${stderr}`);
    return stdout;
  };
  const signal = async (name: string, pids: string): Promise<void> => void (await run(`for pid in $(${pids}); do kill -${name} $pid 2>/dev/null || true; done`));
  switch (kind) {
    case "quorum": {
      const first = await inflict(lab, { kind: "pause-etcd", node, peer, seconds: 0 });
      const second = await inflict(lab, { kind: "pause-etcd", node: peer, peer: node, seconds: 0 });
      return async () => {
        await first();
        await second();
      };
    }
    case "kill":
      await lab.kill(node);
      return () => lab.start(node);
    case "stop":
      await lab.stop(node);
      return () => lab.start(node);
    case "cut":
      await lab.cut(node);
      return () => lab.heal(node);
    case "cut-half":
      await lab.cutLink([peer], node);
      return () => lab.heal(node);
    case "cut-link":
      await lab.cutLink([peer], node);
      await lab.cutLink([node], peer);
      return async () => {
        await lab.heal(node);
        await lab.heal(peer);
      };
    case "fill":
      // a reservation takes the space at once; 2 MiB are left, which the clients' records and their snapshots use up (more, where so much was written since it was asked)
      await run("for left in 2 4 8 16 32; do zfs create -o canmount=off -o reservation=$(( $(zfs get -Hp -o value available hpool) - left * 1048576 )) hpool/chaos && exit 0; done; exit 1");
      return async () => void (await run("zfs destroy hpool/chaos"));
    case "clock": {
      const put = (offsetS: number): Promise<unknown> => run(`echo ${offsetS} > ${clock.offset}`);
      await put(seconds % 2 === 0 ? clockJumpS : -clockJumpS);
      return async () => void (await put(0));
    }
    case "kill-hcd":
    case "kill-workers":
    case "kill-etcd":
    case "kill-zfs":
      await signal("KILL", processes[kind] as string);
      return async () => undefined;
    case "pause-hcd":
    case "pause-workers":
    case "pause-fencer":
    case "pause-etcd":
    case "pause-zfs":
    case "pause-all": {
      const pids = (await run(`${processes[kind]} || true`)).split(/\s+/).filter((pid) => /^[1-9][0-9]*$/.test(pid));
      await signal("STOP", `echo ${pids.join(" ")}`);
      return () => signal("CONT", `echo ${pids.join(" ")}`);
    }
  }
}
