import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { credentials, type Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb.js";
import * as proto from "@pulumi/pulumi/proto/provider_pb.js";
import { Status } from "@pulumi/pulumi/proto/status_pb.js";
import { HcError } from "../../../daemon/lib/errors.js";
import type { Properties } from "../types.js";
import { clean, killGroup, lines, startNode } from "./child.js";
import { fromStruct, toStruct } from "./structs.js";

export interface DiffAnswer {
  /** undefined: the provider leaves it to the engine */
  changes: boolean | undefined;
  replaces: string[];
  deleteBeforeReplace: boolean;
}

/** Create or update did something and then failed: the resource exists, half-made. */
export class InitError extends Error {
  public constructor(message: string, public readonly id: string, public readonly properties: Properties, public readonly reasons: string[]) {
    super(message);
  }
}

/** The provider process ended during a call: the act may have happened. */
export class ProviderGone extends Error {}

const messageLimit = 400 * 1024 * 1024;
const startMs = 30_000;
const graceMs = 5_000;

/** The SDK's dynamic provider process. All properties are in clear: it knows no secrets. */
export class ProviderProcess {
  private constructor(private readonly child: ChildProcess, private readonly client: ResourceProviderClient) {}

  public static async start(options: { cwd: string; env: NodeJS.ProcessEnv; config: Record<string, string>; say: (line: string, isError: boolean) => void }): Promise<ProviderProcess> {
    const child = startNode(require.resolve("@pulumi/pulumi/cmd/dynamic-provider"), ["127.0.0.1:0"], options);
    let port = "";
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new HcError("TIMEOUT", `The provider process did not say its port within ${startMs} ms.`)), startMs);
      child.once("error", reject);
      child.once("exit", (code) => {
        clearTimeout(timer);
        reject(new HcError("INTERNAL", `The provider process ended at its start (exit code ${code}).`));
      });
      lines(child.stdout as NodeJS.ReadableStream, (line) => {
        if (port !== "") return options.say(line, false);
        port = line.trim();
        clearTimeout(timer);
        resolve();
      });
      lines(child.stderr as NodeJS.ReadableStream, (line) => options.say(line, true));
    });
    const client = new ResourceProviderClient(`127.0.0.1:${port}`, credentials.createInsecure(), { "grpc.max_receive_message_length": messageLimit, "grpc.max_send_message_length": messageLimit });
    const provider = new ProviderProcess(child, client);
    const request = new proto.ConfigureRequest();
    request.setArgs(toStruct(options.config));
    request.setAcceptsecrets(true);
    await provider.call<proto.ConfigureResponse>("configure", request);
    return provider;
  }

  private call<R>(method: "configure" | "check" | "diff" | "create" | "update" | "delete" | "read", request: unknown): Promise<R> {
    type Call = (request: unknown, callback: (error: ServiceError | null, response: R) => void) => unknown;
    return new Promise((resolve, reject) => {
      (this.client[method] as unknown as Call).call(this.client, request, (error, response) => (error === null ? resolve(response) : reject(explained(error))));
    });
  }

  public async check(urn: string, olds: Properties, news: Properties): Promise<{ inputs: Properties; failures: { property: string; reason: string }[] }> {
    const request = new proto.CheckRequest();
    request.setUrn(urn);
    request.setOlds(toStruct(olds));
    request.setNews(toStruct(news));
    const answer = await this.call<proto.CheckResponse>("check", request);
    return { inputs: fromStruct(answer.getInputs()), failures: answer.getFailuresList().map((failure) => ({ property: failure.getProperty(), reason: failure.getReason() })) };
  }

  public async diff(urn: string, id: string, oldInputs: Properties, olds: Properties, news: Properties, ignoreChanges: readonly string[]): Promise<DiffAnswer> {
    const request = new proto.DiffRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setOldInputs(toStruct(oldInputs));
    request.setOlds(toStruct(olds));
    request.setNews(toStruct(news));
    request.setIgnorechangesList([...ignoreChanges]);
    const answer = await this.call<proto.DiffResponse>("diff", request);
    const changes = answer.getChanges();
    const kinds = proto.DiffResponse.DiffChanges;
    return { changes: changes === kinds.DIFF_SOME ? true : changes === kinds.DIFF_NONE ? false : undefined, replaces: answer.getReplacesList(), deleteBeforeReplace: answer.getDeletebeforereplace() };
  }

  public async create(urn: string, inputs: Properties): Promise<{ id: string; outputs: Properties }> {
    const request = new proto.CreateRequest();
    request.setUrn(urn);
    request.setProperties(toStruct(inputs));
    const answer = await this.call<proto.CreateResponse>("create", request);
    return { id: answer.getId(), outputs: fromStruct(answer.getProperties()) };
  }

  public async update(urn: string, id: string, olds: Properties, news: Properties): Promise<Properties> {
    const request = new proto.UpdateRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setOlds(toStruct(olds));
    request.setNews(toStruct(news));
    return fromStruct((await this.call<proto.UpdateResponse>("update", request)).getProperties());
  }

  /** An empty id in the answer: it is gone. */
  public async read(urn: string, id: string, properties: Properties, inputs: Properties): Promise<{ id: string; outputs: Properties; inputs: Properties | undefined }> {
    const request = new proto.ReadRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setProperties(toStruct(properties));
    request.setInputs(toStruct(inputs));
    const answer = await this.call<proto.ReadResponse>("read", request);
    return { id: answer.getId(), outputs: fromStruct(answer.getProperties()), inputs: answer.hasInputs() ? fromStruct(answer.getInputs()) : undefined };
  }

  public async delete(urn: string, id: string, outputs: Properties): Promise<void> {
    const request = new proto.DeleteRequest();
    request.setUrn(urn);
    request.setId(id);
    request.setProperties(toStruct(outputs));
    await this.call<Empty>("delete", request);
  }

  /** Gives up at once: running calls fail with ProviderGone. */
  public kill(): void {
    killGroup(this.child, "SIGKILL");
  }

  public async stop(): Promise<void> {
    this.client.close();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    killGroup(this.child, "SIGINT");
    const timer = setTimeout(() => killGroup(this.child, "SIGKILL"), graceMs);
    await ended;
    clearTimeout(timer);
  }
}

/** The half-made resource travels in grpc-status-details-bin: Status → Any → ErrorResourceInitFailed. */
function explained(error: ServiceError): Error {
  const [bytes] = (error.metadata as Metadata | undefined)?.get("grpc-status-details-bin") ?? [];
  const text = clean(error.details || error.message);
  if (bytes instanceof Buffer) {
    for (const detail of Status.deserializeBinary(bytes).getDetailsList()) {
      if (!detail.getTypeName().endsWith("ErrorResourceInitFailed")) continue;
      const failed = proto.ErrorResourceInitFailed.deserializeBinary(detail.getValue_asU8());
      return new InitError(text, failed.getId(), fromStruct(failed.getProperties()), failed.getReasonsList());
    }
  }
  if (error.code === status.UNAVAILABLE || error.code === status.CANCELLED) return new ProviderGone("The provider process ended in the middle of the call; run the operation again, it takes up what was begun.");
  return new Error(text);
}
