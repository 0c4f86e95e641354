import { rootCertificates } from "node:tls";
import { HcError, messageOf } from "../lib/errors.js";
import type { MailSpec } from "../lib/alerts-spec.js";
import type { AlertMessage } from "./alert-text.js";
import { sendMs } from "./http-send.js";

/**
 * One mail over a connection of its own. `starttls` means that nothing is said before the connection is encrypted (RFC 3207), and the server's certificate is always checked. The Message-ID is made from
 * the alert, so that one that is sent twice (the leader died before it could note that it was taken) is one; the end is an answer to the beginning.
 */
export async function mailSend(spec: MailSpec, message: AlertMessage, ca: string): Promise<void> {
  // loaded when it is needed: on most nodes never
  const { createTransport } = require("nodemailer") as typeof import("nodemailer");
  const { host, port, security, user, password, from, to } = spec;
  const transport = createTransport({
    host, port, secure: security === "tls", requireTLS: security === "starttls", ignoreTLS: security === "none",
    ...(user === "" ? {} : { auth: { user, pass: password } }), tls: ca === "" ? {} : { ca: [...rootCertificates, ca] },
    connectionTimeout: sendMs, greetingTimeout: sendMs, socketTimeout: sendMs, dnsTimeout: sendMs, disableFileAccess: true, disableUrlAccess: true,
  });
  const idOf = (state: AlertMessage["state"]): string => `<${message.id}.${state}@${message.cluster}.hybridcluster.invalid>`;
  try {
    await transport.sendMail({
      from, to, subject: `[${message.cluster}] ${message.title}`, text: `${message.text}\n`, messageId: idOf(message.state), date: new Date(),
      // RFC 3834: no automatic answers to it
      headers: { "Auto-Submitted": "auto-generated", "X-HybridCluster-Alert": message.id },
      ...(message.state === "resolved" ? { inReplyTo: idOf("firing"), references: idOf("firing") } : {}),
    });
  } catch (error) {
    throw new HcError("NOT_DELIVERED", messageOf(error), { cause: error });
  } finally {
    transport.close();
  }
}
