import { mkdtempSync } from "node:fs";
import { type Server, createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stat } from "node:fs/promises";
import { startApiServer } from "../../../daemon/api/api-server.js";
import { httpStatus, jsonLimitBytes, Router } from "../../../daemon/api/router.js";
import { errorTable, type ErrorCode, HcError } from "../../../daemon/lib/errors.js";
import { createLogger } from "../../../daemon/lib/log.js";

const log = createLogger("test", { write: () => undefined });
const socketPath = (): string => join(mkdtempSync(join(tmpdir(), "hc-api-")), "hcd.sock");

function ask(path: string, method: string, url: string, body?: string): Promise<{ status: number; body: unknown; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const req = request({ socketPath: path, method, path: url }, (response) => {
      let text = "";
      response.on("data", (part: Buffer) => (text += part.toString()));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text), headers: response.headers }));
    });
    req.on("error", reject);
    req.end(body);
  });
}

test("a socket for root alone; a left-over one is replaced, a second server is refused", async () => {
  const path = socketPath();
  const stale: Server = createServer();
  await new Promise<void>((resolve) => stale.listen(path, resolve));
  await expect(startApiServer(path, new Router(log))).rejects.toMatchObject({ code: "PORT_IN_USE" });
  await new Promise<void>((resolve) => stale.close(() => resolve()));
  const server = await startApiServer(path, new Router(log));
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  await server.stop();
});

describe("router", () => {
  const path = socketPath();
  const router = new Router(log);
  let stop = (): Promise<void> => Promise.resolve();
  beforeAll(async () => {
    router.route("GET", "/v1/things/:id", async ({ params, query, from }) => ({ id: params["id"], more: query.get("more"), from }));
    router.route("PUT", "/v1/things/:id", async ({ json }) => ({ got: await json() }));
    router.route("GET", "/v1/files/*path", async ({ params }) => ({ path: params["path"] }));
    router.route("POST", "/v1/fail/:code", async ({ params }) => { throw new HcError(params["code"] as ErrorCode, "It failed.", { context: { thing: 1 } }); });
    router.route("POST", "/v1/defect", async () => { throw new TypeError("x is not a function"); });
    ({ stop } = await startApiServer(path, router));
  });
  afterAll(() => stop());

  test("parameters, query, caller", async () => {
    expect(await ask(path, "GET", "/v1/things/a%2Fb?more=1")).toMatchObject({ status: 200, body: { id: "a/b", more: "1", from: "local" } });
    expect(await ask(path, "GET", "/v1/files/a/b%20c")).toMatchObject({ body: { path: "a/b c" } });
  });
  test("unknown and malformed paths are NOT_FOUND", async () => {
    for (const url of ["/v1/things", "/v1/things/", "/v1/things/%zz", "/v2/things/a"]) expect(await ask(path, "GET", url)).toMatchObject({ status: 404, body: { error: { code: "NOT_FOUND" } } });
  });
  test("bodies: JSON only, bounded", async () => {
    expect(await ask(path, "PUT", "/v1/things/a", '{"x":1}')).toMatchObject({ body: { got: { x: 1 } } });
    expect(await ask(path, "PUT", "/v1/things/a", "{")).toMatchObject({ status: 400, body: { error: { code: "INVALID_INPUT" } } });
    expect(await ask(path, "PUT", "/v1/things/a", `"${"x".repeat(jsonLimitBytes)}"`)).toMatchObject({ status: 429, body: { error: { code: "LIMIT_EXCEEDED" } } });
  });
  test("every error code has a status of its own kind, and travels with message and context", async () => {
    for (const code of Object.keys(errorTable) as ErrorCode[]) {
      expect(httpStatus(code)).toBeGreaterThanOrEqual(400);
      expect(await ask(path, "POST", `/v1/fail/${code}`)).toMatchObject({ status: httpStatus(code), body: { error: { code, message: "It failed.", context: { thing: 1 } } } });
    }
    expect(await ask(path, "POST", "/v1/defect")).toMatchObject({ status: 500, body: { error: { code: "INTERNAL" } } });
  });
  test("a scope's routes vanish together", async () => {
    const scope = router.scope();
    scope.route("GET", "/v1/mine", async () => ({ ok: true }));
    expect(await ask(path, "GET", "/v1/mine")).toMatchObject({ status: 200 });
    scope.clear();
    expect(await ask(path, "GET", "/v1/mine")).toMatchObject({ status: 404 });
    expect(() => router.route("GET", "/v1/things/:id", async () => ({}))).toThrow(/twice/);
  });
});
