import type { NodePaths } from "../../../daemon/lib/node-config.js";
import type { Manifest } from "./manifest.js";

/** What a look at a machine has shown. */
export interface HostFacts {
  kernel: string;
  machine: string;
  /** "debian 12"; "" where there is no os-release. */
  os: string;
  packages: string[];
  /** TCP ports that somebody listens on, with the program's name where it can be seen. */
  listening: { port: number; program: string }[];
  users: string[];
  /** Our paths that exist. */
  paths: Partial<Record<keyof NodePaths, "full" | "empty">>;
  zfs: boolean;
  /** Seconds between transaction groups (zfs(4), zfs_txg_timeout); "" where this ZFS has no such setting. */
  txgSeconds: string;
  /** FreeBSD: resources are counted, so that rctl(8) can limit them; pools are imported at boot. */
  racct: boolean;
  zfsAtBoot: boolean;
  systemd: boolean;
  /** Hardware watchdogs whose drivers are loaded. */
  watchdogs: { device: string; nowayout: boolean; identity: string }[];
  /** Version of our own Node there, and of one in /usr/local/bin; "" for none. */
  node: string;
  otherNode: string;
  /** Digest that `current` points to. */
  current: string;
  /** Digests of files: the artefact that is current, host.json, the services' definitions; "" for none. */
  artefact: string;
  hostConfig: string;
  service: string;
  fencer: string;
  /** The services run. */
  active: boolean;
  fencerActive: boolean;
  manifest: Manifest | undefined;
}

export const noFacts: HostFacts = {
  kernel: "", machine: "", os: "", packages: [], listening: [], users: [], paths: {}, zfs: false, txgSeconds: "", racct: false, zfsAtBoot: false, systemd: false, watchdogs: [], node: "", otherNode: "",
  current: "", artefact: "", hostConfig: "", service: "", fencer: "", active: false, fencerActive: false, manifest: undefined,
};

export function parseProbe(text: string): HostFacts {
  const facts: HostFacts = { ...noFacts, packages: [], listening: [], users: [], watchdogs: [], paths: {} };
  for (const line of text.split("\n")) {
    const tab = line.indexOf("\t");
    if (tab === -1) continue;
    const value = line.slice(tab + 1);
    switch (line.slice(0, tab)) {
      case "kernel": facts.kernel = value; break;
      case "machine": facts.machine = value; break;
      case "os": facts.os = value.trim(); break;
      case "package": facts.packages.push(value); break;
      case "listen": {
        const [port = "", program = ""] = value.split(" ");
        if (/^[0-9]+$/.test(port)) facts.listening.push({ port: Number(port), program });
        break;
      }
      case "user": facts.users.push(value); break;
      case "path": {
        const [key = "", state = ""] = value.split(" ");
        facts.paths[key as keyof NodePaths] = state as "full";
        break;
      }
      case "zfs": facts.zfs = true; break;
      case "txg": facts.txgSeconds = value; break;
      case "racct": facts.racct = value === "1"; break;
      case "zfsatboot": facts.zfsAtBoot = /^(yes|true|on|1)$/i.test(value); break; // rc.subr, checkyesno
      case "watchdog": {
        const [device = "", nowayout = "", ...identity] = value.split(" ");
        facts.watchdogs.push({ device, nowayout: nowayout !== "0", identity: identity.join(" ") });
        break;
      }
      case "systemd": facts.systemd = true; break;
      case "node": facts.node = value.replace(/^v/, ""); break;
      case "othernode": facts.otherNode = value.replace(/^v/, ""); break;
      case "current": facts.current = value; break;
      case "artefact": facts.artefact = value; break;
      case "hostconfig": facts.hostConfig = value; break;
      case "service": facts.service = value; break;
      case "active": facts.active = true; break;
      case "fencer": facts.fencer = value; break;
      case "fenceractive": facts.fencerActive = true; break;
      case "manifest": facts.manifest = JSON.parse(value) as Manifest; break;
      default: break;
    }
  }
  facts.packages.sort();
  // one line a port; where some sockets show no program (another namespace), the one that does wins
  const byPort = new Map<number, { port: number; program: string }>();
  for (const item of facts.listening) if ((byPort.get(item.port)?.program ?? "") === "") byPort.set(item.port, item);
  facts.listening = [...byPort.values()].sort((a, b) => a.port - b.port);
  return facts;
}
