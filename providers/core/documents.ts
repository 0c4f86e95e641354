import { type DesiredDocument, documentVersion, type Kind, type SpecOf } from "../../daemon/lib/documents.js";
import { retry } from "../../daemon/lib/backoff.js";
import { errorCode, HcError } from "../../daemon/lib/errors.js";
import type { ClusterConnection } from "../schemas/cluster.js";
import type { Connection } from "../schemas/connection.js";
import { apiCall } from "../ssh/api-client.js";
import { currentHosts } from "./api-connections.js";

/** Steps of one `up` run side by side: a host name may still belong to the site that is giving it up, a document may change under a transaction. */
const settleMs = 15_000;

/** Puts a desired document; `adopt` takes over one that was made through the API. Returns its revision. Conflicts that can pass are waited for. */
export async function putDocument<K extends Kind>(hosts: readonly Connection[], kind: K, name: string, spec: SpecOf[K], adopt: boolean): Promise<string> {
  const document: DesiredDocument<K> = { version: documentVersion, kind, name, origin: "git", spec };
  return retry(`${kind} ${name}`, { withinMs: settleMs, firstMs: 100, capMs: 1000 }, async () => {
    try {
      return (await apiCall<{ revision: string }>(hosts, "PUT", `/v1/documents/${kind}/${name}${adopt ? "?adopt=1" : ""}`, document, { timeoutMs: 20_000 })).revision;
    } catch (error) {
      // somebody else's document does not become ours by waiting (the API's answer carries no `retry`)
      if (errorCode(error) === "CONFLICT" && (error as HcError).context["origin"] !== undefined) throw new HcError("CONFLICT", (error as HcError).message, { retry: "never", cause: error });
      throw error;
    }
  });
}

/** The answer, or undefined when the thing does not exist. */
export async function getIfAny<T>(hosts: readonly Connection[], path: string): Promise<T | undefined> {
  try {
    return await apiCall<T>(hosts, "GET", path, undefined, { timeoutMs: 20_000 });
  } catch (error) {
    if (errorCode(error) === "NOT_FOUND") return undefined;
    throw error;
  }
}

export async function deleteDocument(connection: ClusterConnection, kind: Kind, name: string): Promise<void> {
  await apiCall(currentHosts(connection), "DELETE", `/v1/documents/${kind}/${name}`, undefined, { timeoutMs: 20_000 });
}
