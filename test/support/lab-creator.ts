import { ensureRoot } from "../../providers/lab/root.js";
import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { openLab } from "../../providers/lab/lab.js";

/** A process of its own that makes a lab, so that a test can kill it: `lab-creator.js <dir> <ephemeral 0|1> <nodes>`. Prints "ready". */
async function main([dir = "", ephemeral = "1", count = "1"]: string[]): Promise<void> {
  process.stdout.write("begin\n");
  const root = await ensureRoot(new LocalRunner());
  const lab = await openLab({ dir, name: "killed", ephemeral: ephemeral === "1" });
  const names = Array.from({ length: Number(count) }, (_, number) => `n${number + 1}`);
  await Promise.all(names.map(async (name) => {
    await lab.createNode({ name, disks: [{ sizeBytes: String(256 << 20) }], root });
    await lab.start(name);
  }));
  process.stdout.write("ready\n");
  setInterval(() => undefined, 1000); // until it is killed
}
void main(process.argv.slice(2));
