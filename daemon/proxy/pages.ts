const titles: Record<number, [string, string]> = {
  400: ["Bad request", "The request could not be read."],
  404: ["No such site here", "No site of this cluster has this name. If you have just pointed it here, give it to a site first."],
  405: ["Method not allowed", "This method cannot be used here."],
  408: ["Request timeout", "The request took too long to arrive."],
  413: ["Content too large", "The request's body is larger than this server takes."],
  417: ["Expectation failed", "This server cannot do what the request expects."],
  421: ["Misdirected request", "This name has no HTTPS here."],
  431: ["Request header too large", "The request's header is larger than 32 KiB or has too many fields."],
  501: ["Not implemented", "The request's body comes in a coding that this server does not know."],
  502: ["Bad answer", "The site's server ended without a complete answer."],
  503: ["Just a moment", "This site is not being served at the moment. Please try again shortly."],
  505: ["Version not supported", "This server speaks HTTP/1.1 and HTTP/2."],
};

/** A plain page of the proxy's own. It names no node and no version: strangers read it. */
export function pageParts(status: number): { title: string; fields: [string, string][]; body: string } {
  const [title, text] = titles[status] ?? ["Error", "The request cannot be answered."];
  const body = `<!doctype html><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${text}</p>\n`;
  const fields: [string, string][] = [["Content-Type", "text/html; charset=utf-8"], ["Content-Length", String(Buffer.byteLength(body))], ["Cache-Control", "no-store"]];
  if (status === 503) fields.push(["Retry-After", "5"]);
  return { title, fields, body };
}
/** The same as bytes of HTTP/1.1. */
export function page(status: number, options: { keep: boolean; head: boolean }): string {
  const { title, fields, body } = pageParts(status);
  return `HTTP/1.1 ${status} ${title}\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}Connection: ${options.keep ? "keep-alive" : "close"}\r\n\r\n${options.head ? "" : body}`;
}
