import { type NeededPackage, missingPackages } from "../../../providers/lab/preflight.js";
import { HcError } from "../../../daemon/lib/errors.js";

const needed: readonly NeededPackage[] = [
  { package: "qemu-system-x86", program: "qemu-system-x86_64", why: "runs the virtual machine with the real OpenZFS, emulated" },
  { package: "mmdebstrap", program: "mmdebstrap", why: "builds its Debian root and the kernel module in it" },
  { package: "e2fsprogs", program: "mke2fs", why: "makes its disk from the root" },
  { package: "util-linux", program: "setpriv", why: "ends the machine with the run that began it" },
  { package: "util-linux", program: "unshare", why: "keeps the build apart from this machine" },
];

/** Debian packages that this machine lacks for `npm run test:openzfs`. */
export const openZfsPackages = (): Promise<NeededPackage[]> => missingPackages(needed);

/** Throws UNSUPPORTED. */
export function assertMachine(machine: { platform: string; arch: string; uid: number } = { platform: process.platform, arch: process.arch, uid: process.getuid?.() ?? -1 }): void {
  const problems = [
    ...(machine.platform === "linux" && machine.arch === "x64" ? [] : [`it needs Linux on x86-64; this is ${machine.platform} on ${machine.arch}.`]),
    ...(machine.uid === 0 ? [] : ["it needs root (mmdebstrap builds the kernel module in a root of its own): run it as root, or with sudo -E."]),
  ];
  if (problems.length > 0) throw new HcError("UNSUPPORTED", `The tests on the real OpenZFS cannot run here:\n${problems.map((problem) => ` - ${problem}`).join("\n")}`, { context: { problems } });
}
