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
  paths: Partial<Record<"etc" | "state" | "lib" | "data", "full" | "empty">>;
  zfs: boolean;
  systemd: boolean;
  /** Version of our own Node there, and of one in /usr/local/bin; "" for none. */
  node: string;
  otherNode: string;
  /** Digest that `current` points to. */
  current: string;
  manifest: Manifest | undefined;
}

export function parseProbe(text: string): HostFacts {
  const facts: HostFacts = { kernel: "", machine: "", os: "", packages: [], listening: [], users: [], paths: {}, zfs: false, systemd: false, node: "", otherNode: "", current: "", manifest: undefined };
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
        facts.paths[key as "etc"] = state as "full";
        break;
      }
      case "zfs": facts.zfs = true; break;
      case "systemd": facts.systemd = true; break;
      case "node": facts.node = value.replace(/^v/, ""); break;
      case "othernode": facts.otherNode = value.replace(/^v/, ""); break;
      case "current": facts.current = value; break;
      case "manifest": facts.manifest = JSON.parse(value) as Manifest; break;
      default: break;
    }
  }
  facts.packages.sort();
  facts.listening = [...new Map(facts.listening.map((item) => [item.port, item])).values()].sort((a, b) => a.port - b.port);
  return facts;
}
