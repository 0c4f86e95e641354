import { Struct } from "google-protobuf/google/protobuf/struct_pb.js";
import type { Properties } from "../types.js";

/** Struct.fromJavaScript refuses `undefined`; values of the engine never hold it. */
export const toStruct = (properties: Properties): Struct => Struct.fromJavaScript(properties as Parameters<typeof Struct.fromJavaScript>[0]);
export const fromStruct = (struct: Struct | undefined): Properties => (struct === undefined ? {} : (struct.toJavaScript() as Properties));
