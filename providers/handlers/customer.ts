import { until } from "../../daemon/lib/backoff.js";
import { messageOf } from "../../daemon/lib/errors.js";
import type { CustomerRecord } from "../../daemon/lib/records.js";
import { validate } from "../../daemon/lib/schema.js";
import { currentHosts } from "../core/api-connections.js";
import { deleteDocument, getIfAny, putDocument } from "../core/documents.js";
import type { Handler } from "../core/handler.js";
import { PartialError } from "../core/partial-error.js";
import { otherCluster } from "../schemas/cluster.js";
import { type CustomerInputs, type CustomerOutputs, customerSchema } from "../schemas/customer.js";

async function converge(inputs: CustomerInputs): Promise<CustomerOutputs> {
  const { hosts } = inputs.connection;
  await putDocument(hosts, "customer", inputs.name, { displayName: inputs.displayName || inputs.name, contact: inputs.contact }, inputs.adopt);
  try {
    const record = await until(`customer ${inputs.name}`, { withinMs: inputs.timeouts.create * 1000, firstMs: 30, capMs: 300 }, async () => {
      const seen = await getIfAny<Partial<CustomerRecord>>(hosts, `/v1/customers/${inputs.name}`);
      return seen?.uid === undefined || seen.deleted === true ? undefined : (seen as CustomerRecord);
    });
    return { ...inputs, uid: record.uid, gid: record.gid, user: record.user };
  } catch (error) {
    throw new PartialError(`Customer ${inputs.name}: ${messageOf(error)}`, inputs.name, inputs);
  }
}

export const customerHandler: Handler<CustomerInputs, CustomerOutputs> = {
  check: async (_olds, news) => {
    const inputs = structuredClone(news);
    return { failures: validate(customerSchema, inputs), inputs };
  },
  diff: async (_id, olds, news) => {
    const replaces = olds.name === news.name ? [] : ["name"];
    if (otherCluster(olds.connection, news.connection)) replaces.push("connection");
    return { changes: replaces.length > 0 || olds.displayName !== news.displayName || olds.contact !== news.contact, replaces, deleteBeforeReplace: true };
  },
  create: async (inputs) => ({ id: inputs.name, outs: await converge(inputs) }),
  update: async (_id, _olds, news) => ({ outs: await converge(news) }),
  read: async (id, props) => {
    const seen = await getIfAny<CustomerRecord>(currentHosts(props.connection), `/v1/customers/${props.name}`);
    return seen?.uid === undefined || seen.deleted === true ? { id: "", props } : { id, props: { ...props, uid: seen.uid, gid: seen.gid, user: seen.user } };
  },
  delete: async (_id, props) => deleteDocument(props.connection, "customer", props.name),
};
