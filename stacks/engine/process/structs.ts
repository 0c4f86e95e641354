import { ListValue, Struct, Value as ProtoValue } from "google-protobuf/google/protobuf/struct_pb.js";
import type { Properties, Value } from "../types.js";

/** Struct.fromJavaScript refuses `undefined`; values of the engine never hold it. */
export const toStruct = (properties: Properties): Struct => Struct.fromJavaScript(properties as Parameters<typeof Struct.fromJavaScript>[0]);
export const fromStruct = (struct: Struct | undefined): Properties => (struct === undefined ? {} : (struct.toJavaScript() as Properties));
export type { ListValue, ProtoValue, Value };
