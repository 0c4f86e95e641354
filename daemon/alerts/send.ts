import type { AlertMessage } from "./alert-text.js";
import { httpSend } from "./http-send.js";
import { mailSend } from "./mail-send.js";
import type { Heartbeat, Receiver } from "./receivers.js";

/** The effects, so that tests play receivers. Both throw NOT_DELIVERED. */
export interface Senders { tell(receiver: Receiver, message: AlertMessage, signal: AbortSignal): Promise<void>; beat(heartbeat: Heartbeat, signal: AbortSignal): Promise<void> }

export const senders: Senders = {
  tell: (receiver, message, signal) =>
    receiver.kind === "mail" ? mailSend(receiver.mail, message, receiver.ca)
      : httpSend({
        method: "POST", url: receiver.webhook.url, ca: receiver.ca, signal, body: JSON.stringify(message),
        // the same for the same message: a receiver can tell that it has it already
        headers: { "content-type": "application/json", "idempotency-key": `${message.id}.${message.state}`, ...receiver.webhook.headers },
      }),
  beat: (heartbeat, signal) => httpSend({ method: "GET", url: heartbeat.url, headers: {}, body: "", ca: heartbeat.ca, signal }),
};
