import type { CertificateStatus } from "../../daemon/certificates/certificate-status.js";
import { command } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { json, table } from "../output.js";

const time = (atMs: number): string => (atMs === 0 ? "-" : new Date(atMs).toISOString().slice(0, 16).replace("T", " "));

/** Pure: those with a failure have it in full below. */
export function certificatesText(certificates: readonly CertificateStatus[]): string {
  if (certificates.length === 0) return "No site has HTTPS: `tls` of a Site says how it gets a certificate.\n";
  const rows = certificates.map((one) => [one.name, one.kind === "acme" ? "acme" : "program", one.issuer === "" ? "-" : one.issuer, time(one.validUntilMs), one.sites.slice(0, 2).join(", ") + (one.sites.length > 2 ? ` +${one.sites.length - 2}` : ""), time(one.nextTryMs), one.failures === 0 ? "-" : String(one.failures)]);
  const failed = certificates.filter(({ reason }) => reason !== "").map(({ name, lastFailureMs, reason }) => `\n${name}${lastFailureMs === 0 ? "" : ` at ${time(lastFailureMs)}`}: ${reason}\n`);
  return `${table(["CERTIFICATE", "FROM", "ISSUER", "VALID UNTIL (UTC)", "SITES", "NEXT TRY (UTC)", "FAILURES"], rows)}${failed.join("")}`;
}

export const certificatesCommand = command<object>({
  command: "certificates",
  describe: "certificates of sites: until when they are valid, what failed last, and the next try",
  run: async ({ args, output, cluster }) => {
    const { certificates } = await cluster().call<{ certificates: CertificateStatus[] }>("GET", "/v1/certificates");
    output.out(args.json ? json(certificates) : certificatesText(certificates));
    return exitCodes.ok;
  },
});
