import type { RequestHead, ResponseHead } from "./http-head.js";
import type { Link } from "./link.js";

/** Whoever is to be answered: a client's connection, or another node's proxy. One request at a time. */
export interface Asker {
  /** An answer's body goes to it without chunk framing (HTTP/1.0). */
  readonly dechunks: boolean;
  /** It takes no more for now: `Exchange.onRoom` follows. */
  readonly blocked: boolean;
  /** Bytes that it was given may still be in use. */
  readonly writing: boolean;
  /** An answer before the last (1xx). */
  interim(response: ResponseHead): void;
  /** The answer's head, and what has come of its body. */
  begin(response: ResponseHead, first: Buffer): void;
  body(bytes: Buffer): void;
  end(): void;
  /** Nothing of the answer has left: the proxy answers by itself. */
  own(status: 502 | 503): void;
  /** The answer ends within: it must not look complete. */
  cut(): void;
  /** 101: its head is sent, and the connection handed over. */
  tunnel(response: ResponseHead): Link;
  /** The connection that was handed over has ended. */
  tunnelEnded(): void;
  /** Tells the exchange when there is room again. */
  onRoom: (() => void) | undefined;
}

/** A request on its way: what is asked, by whom, with which body. */
export interface Request { asker: Asker; head: RequestHead; headOut: string; upload: Upload | undefined }

/** The body of a request, given when it is asked for. */
export interface Upload {
  /** It can be given again, for nothing of it lies only in a connection. */
  readonly replayable: boolean;
  /** All of it has been read from its sender: the connection is at the next request. */
  readonly complete: boolean;
  /** Gives itself to `to` from its beginning (again, if replayable). */
  start(to: UploadTaker): void;
  /** There is room again. */
  more(): void;
  /** It is not wanted any more. */
  stop(): void;
}
export interface UploadTaker {
  /** False: `more` will be called. */
  upload(bytes: Buffer): boolean;
  uploadEnded(): void;
  /** The sender failed: no more comes, and it is not complete. */
  uploadFailed(error: Error): void;
}
