import { Agent, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** The npm package `http-proxy` as its README sets it up, with connections to the backend kept: `http-proxy-peer.js PORT BACKEND-PORT`. */
interface HttpProxy { createProxyServer(options: object): { listen(port: number, host: string): { _server: Server }; on(event: "error", listener: (error: Error, request: IncomingMessage, response: ServerResponse) => void): void } }
// it brings no types
const { createProxyServer } = require("http-proxy") as HttpProxy;

const [port, backend] = process.argv.slice(2).map(Number);
const proxy = createProxyServer({ target: `http://127.0.0.1:${backend}`, agent: new Agent({ keepAlive: true, maxFreeSockets: 128 }), xfwd: true });
proxy.on("error", (_error, _request, response) => void response.writeHead(502).end());
const { _server: server } = proxy.listen(Number(port), "127.0.0.1");
server.keepAliveTimeout = 60_000; // its default is 5 s
