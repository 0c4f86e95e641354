const titles: Record<number, [string, string]> = {
  400: ["Bad request", "The request could not be read."],
  404: ["No such site here", "No site of this cluster has this name. If you have just pointed it here, give it to a site first."],
  405: ["Method not allowed", "This method cannot be used here."],
  408: ["Request timeout", "The request took too long to arrive."],
  431: ["Request header too large", "The request's header is larger than 32 KiB or has too many fields."],
  502: ["Bad answer", "The site's server ended without a complete answer."],
  503: ["Just a moment", "This site is not being served at the moment. Please try again shortly."],
};

/** A plain page of the proxy's own. It names no node and no version: strangers read it. */
export function page(status: number, options: { keep: boolean; head: boolean }): string {
  const [title, text] = titles[status] ?? ["Error", "The request cannot be answered."];
  const body = `<!doctype html><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><p>${text}</p>\n`;
  const retry = status === 503 ? "Retry-After: 5\r\n" : "";
  return `HTTP/1.1 ${status} ${title}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\n${retry}Connection: ${options.keep ? "keep-alive" : "close"}\r\n\r\n${options.head ? "" : body}`;
}
