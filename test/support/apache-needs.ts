import { type NeededPackage, missingPackages } from "../../providers/lab/preflight.js";

const needed: readonly NeededPackage[] = [{ package: "apache2-bin", program: "apache2", why: "reads what the proxy sends on, as a second opinion (only its program: no service)" }];

/** Debian packages that this machine lacks for the tests against Apache. */
export const apachePackages = (): Promise<NeededPackage[]> => missingPackages(needed);
