import { holdsUnknown, validate } from "../../daemon/lib/schema.js";
import { acme } from "../../daemon/lib/tls-spec.js";
import { certificateFailures, chainFacts } from "../../daemon/lib/x509.js";
import { currentHosts } from "../core/api-connections.js";
import { deleteDocument, getIfAny, putDocument } from "../core/documents.js";
import type { Handler } from "../core/handler.js";
import { progress } from "../core/progress.js";
import { type CertificateInputs, type CertificateOutputs, certificateSchema } from "../schemas/certificate.js";
import { otherCluster } from "../schemas/cluster.js";

/** What a program sees of it without the secrets. */
function outputs(inputs: CertificateInputs): CertificateOutputs {
  const facts = chainFacts(inputs.chain);
  return { ...inputs, names: facts?.names ?? [], validUntil: facts === undefined ? "" : new Date(facts.notAfterMs).toISOString() };
}
/** With the key in clear: the API's socket seals it before it is kept (daemon/lib/sealed.ts). */
async function put(inputs: CertificateInputs): Promise<CertificateOutputs> {
  await putDocument(inputs.connection.hosts, "certificate", inputs.name, { chain: inputs.chain, key: inputs.key }, inputs.adopt);
  return outputs(inputs);
}

export const certificateHandler: Handler<CertificateInputs, CertificateOutputs> = {
  check: async (olds, news) => {
    const inputs = structuredClone(news);
    const failures = validate(certificateSchema, inputs);
    if (inputs.name === acme) failures.push({ property: "name", reason: `"${acme}" stands for certificates by ACME; choose another` });
    if (failures.length > 0 || holdsUnknown([inputs.chain, inputs.key])) return { inputs, failures };
    const nowMs = Date.now();
    const { notAfterMs } = chainFacts(inputs.chain) ?? { notAfterMs: Number.POSITIVE_INFINITY };
    // one that has been taken and expires meanwhile must not keep everything else from being changed
    const kept = notAfterMs <= nowMs && olds.chain === inputs.chain && olds.key === inputs.key;
    if (kept) progress("Certificate", inputs.name, `has expired: ${new Date(notAfterMs).toISOString()}; browsers refuse it, give a new one`);
    return { inputs, failures: certificateFailures(inputs, kept ? notAfterMs - 1 : nowMs) };
  },
  diff: async (_id, olds, news) => {
    const replaces = olds.name === news.name ? [] : ["name"];
    if (otherCluster(olds.connection, news.connection)) replaces.push("connection");
    return { changes: replaces.length > 0 || olds.chain !== news.chain || olds.key !== news.key, replaces, deleteBeforeReplace: false };
  },
  create: async (inputs) => ({ id: inputs.name, outs: await put(inputs) }),
  update: async (_id, _olds, news) => ({ outs: await put(news) }),
  read: async (id, props) => ({ id: (await getIfAny(currentHosts(props.connection), `/v1/documents/certificate/${props.name}`)) === undefined ? "" : id, props }),
  delete: async (_id, props) => deleteDocument(props.connection, "certificate", props.name),
};
