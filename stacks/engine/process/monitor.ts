import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { Empty } from "google-protobuf/google/protobuf/empty_pb.js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb.js";
import * as engine from "@pulumi/pulumi/proto/engine_pb.js";
import { ResourceMonitorService } from "@pulumi/pulumi/proto/resource_grpc_pb.js";
import * as resource from "@pulumi/pulumi/proto/resource_pb.js";
import type { Properties, Severity } from "../types.js";
import { clean } from "./child.js";
import { goalOf, type Goal } from "./goal.js";
import { fromStruct, toStruct } from "./structs.js";

export interface Registered {
  urn: string;
  id: string;
  outputs: Properties;
  propertyDependencies: Record<string, string[]>;
}

/** What the program asks of the engine. A thrown Stopping ends the program quietly. */
export interface ProgramCalls {
  register(goal: Goal): Promise<Registered>;
  registerOutputs(urn: string, outputs: Properties): Promise<void>;
  log(severity: Severity | "debug", text: string, urn: string, ephemeral: boolean): void;
}

/** Answered as UNAVAILABLE: the SDK takes it as the end of the engine and prints nothing. */
export class Stopping extends Error {}

const features = new Set(["secrets", "deletedWith", "replaceWith"]);
const messageLimit = 400 * 1024 * 1024;

/** Serves ResourceMonitor and Engine on one loopback port. */
export class MonitorServer {
  /** the program came to its end and asked to be let go */
  public signalled = false;
  private rootUrn = "";
  private constructor(private readonly server: Server, public readonly address: string) {}

  public static async start(calls: ProgramCalls): Promise<MonitorServer> {
    const server = new Server({ "grpc.max_receive_message_length": messageLimit, "grpc.max_send_message_length": messageLimit });
    let self: MonitorServer | undefined;
    type Handler<Q, R> = (call: ServerUnaryCall<Q, R>, callback: sendUnaryData<R>) => void;
    const unary = <Q, R>(act: (request: Q) => Promise<R> | R): Handler<Q, R> => (call, callback) => {
      Promise.resolve().then(() => act(call.request)).then((answer) => callback(null, answer), (error: Error) => callback({ code: error instanceof Stopping ? status.UNAVAILABLE : status.UNKNOWN, details: error.message }));
    };
    const refuse = (what: string): Handler<unknown, unknown> => (_call, callback) => callback({ code: status.UNIMPLEMENTED, details: `${what} is not known to the embedded engine; use the pulumi CLI.` });
    server.addService(ResourceMonitorService as never, {
      getDeploymentInfo: refuse("GetDeploymentInfo"),
      supportsFeature: unary((request: resource.SupportsFeatureRequest) => new resource.SupportsFeatureResponse().setHassupport(features.has(request.getId()))),
      invoke: refuse("Calling a function of another provider"), call: refuse("Calling a method of another provider"), existsResource: refuse("ExistsResource"),
      readResource: refuse("Reading an existing resource (`.get`)"),
      registerStackTransform: refuse("A stack transform"), registerStackInvokeTransform: refuse("A stack invoke transform"), registerResourceHook: refuse("A resource hook"), registerErrorHook: refuse("An error hook"), registerPackage: refuse("A parameterized package"),
      registerResource: unary(async (request: resource.RegisterResourceRequest) => answerOf(await calls.register(goalOf(request)))),
      registerResourceOutputs: unary(async (request: resource.RegisterResourceOutputsRequest) => {
        await calls.registerOutputs(request.getUrn(), fromStruct(request.getOutputs()));
        return new Empty();
      }),
      signalAndWaitForShutdown: unary(() => {
        if (self !== undefined) self.signalled = true;
        return new Empty();
      }),
    } as never);
    server.addService(EngineService as never, {
      log: unary((request: engine.LogRequest) => {
        const severity = (["debug", "info", "warning", "error"] as const)[request.getSeverity()] ?? "info";
        calls.log(severity, clean(request.getMessage()).trimEnd(), request.getUrn(), request.getEphemeral());
        return new Empty();
      }),
      getRootResource: unary(() => new engine.GetRootResourceResponse().setUrn(self?.rootUrn ?? "")),
      setRootResource: unary((request: engine.SetRootResourceRequest) => {
        if (self !== undefined) self.rootUrn = request.getUrn();
        return new engine.SetRootResourceResponse();
      }),
      startDebugging: refuse("StartDebugging"),
      requirePulumiVersion: unary(() => new engine.RequirePulumiVersionResponse()),
    } as never);
    const port = await new Promise<number>((resolve, reject) => server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error))));
    self = new MonitorServer(server, `127.0.0.1:${port}`);
    return self;
  }

  public stop(): void {
    this.server.forceShutdown();
  }
}

function answerOf(registered: Registered): resource.RegisterResourceResponse {
  const answer = new resource.RegisterResourceResponse().setUrn(registered.urn).setId(registered.id).setObject(toStruct(registered.outputs));
  for (const [key, urns] of Object.entries(registered.propertyDependencies)) answer.getPropertydependenciesMap().set(key, new resource.RegisterResourceResponse.PropertyDependencies().setUrnsList(urns));
  return answer;
}
