import type { Request } from "../../daemon/proxy/asker.js";
import { AtPeer, type PeerOwner } from "../../daemon/proxy/at-peer.js";
import type { Link } from "../../daemon/proxy/link.js";
import { RouteStore } from "../../daemon/proxy/route-store.js";
import type { RouteTable, UnitRoute } from "../../daemon/proxy/routes.js";
import type { WorkerState } from "../../daemon/proxy/worker-state.js";

const route = (home: string, epoch: number): UnitRoute => ({ home, epoch, since: epoch }) as UnitRoute;
const table = (home: string, epoch: number): RouteTable => ({ version: 1, units: { "site-a": route(home, epoch) }, nodes: { n1: { addresses: ["192.0.2.1"], port: 1 }, n2: { addresses: ["192.0.2.2"], port: 1 } } }) as unknown as RouteTable;

/** An edge's worker whose connection to another node is neither made nor refused until the test says so. */
function edge(): { ask(): { told: string[]; abort(): void }; routes: RouteStore; reach(link?: Link): void; dialled: string[] } {
  const routes = new RouteStore();
  const dialled: string[] = [];
  let reach: (link?: Link) => void = () => undefined;
  const upstreams = {
    take: () => undefined,
    peer: (_table: RouteTable, node: string, reached: (link: Link | undefined, error: string | undefined) => void) => {
      dialled.push(node);
      reach = (link) => reached(link, link === undefined ? "no connection" : undefined);
    },
  };
  const worker = { routes, upstreams, error: () => undefined } as unknown as WorkerState;
  routes.setTable(table("n1", 1));
  return {
    routes, dialled,
    reach: (link) => reach(link),
    ask() {
      const told: string[] = [];
      const owner: PeerOwner = { onAccepted: () => void told.push("accepted"), onRefused: (verdict) => void told.push(verdict), onAnswered: () => void told.push("answered"), onFailed: () => void told.push("failed") };
      const peer = new AtPeer(worker, "site-a", route("n1", 1), {} as Request, { address: "127.0.0.1", proto: "http", socket: {} as never }, owner);
      peer.start(routes.table as RouteTable);
      return { told, abort: () => peer.abort() };
    },
  };
}

test("a request that waits for a connection to a dead home goes on as soon as its unit has another one, and a connection that comes late is closed", () => {
  const { ask, routes, reach, dialled } = edge();
  const request = ask();
  expect([request.told, dialled]).toEqual([[], ["n1"]]);
  routes.setTable(table("n2", 2));
  expect(request.told).toEqual(["not-home"]);
  let destroyed = 0;
  reach({ destroy: () => (destroyed += 1) } as unknown as Link);
  expect([request.told, destroyed]).toEqual([["not-home"], 1]);
});

test("a planned move lets it wait, for the old home tells it where to go; without a connection, or without an asker, nothing follows later", () => {
  const { ask, routes, reach } = edge();
  const [moved, left] = [ask(), ask()];
  left.abort();
  routes.setTable({ ...table("n2", 2), units: { "site-a": { ...route("n2", 2), since: 1 } } });
  expect(moved.told).toEqual([]);
  routes.setTable(table("n2", 3));
  expect([moved.told, left.told]).toEqual([["not-home"], []]);
  reach();
  expect([moved.told, left.told]).toEqual([["not-home"], []]);
});

test("one whose home was lost before it is dialled is not dialled", () => {
  const { ask, routes, dialled } = edge();
  routes.setTable(table("n2", 2));
  expect([ask().told, dialled]).toEqual([["not-home"], []]);
});
