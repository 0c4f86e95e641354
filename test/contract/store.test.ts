import { EtcdStore } from "../../daemon/state/etcd-store.js";
import { MemoryState, MemoryStore } from "../../daemon/state/memory-store.js";
import { startEtcd, type TestEtcd } from "../support/etcd.js";
import { type StoreSubject, storeContract } from "./store.js";

const state = new MemoryState();
const memory: StoreSubject = { store: new MemoryStore(state), compact: async () => state.compact() };
storeContract("memory", () => memory);

describe("etcd", () => {
  let etcd: TestEtcd;
  let subject: StoreSubject & { store: EtcdStore };
  let close = (): void => undefined;
  beforeAll(async () => {
    etcd = await startEtcd();
    const connection = etcd.connect();
    close = () => connection.close();
    const store = new EtcdStore(connection, [etcd.endpoint]);
    subject = {
      store,
      compact: async () => {
        const { revision } = await store.list("/none/");
        await connection.post(etcd.endpoint, "/v3/kv/compaction", { revision, physical: true }, 5000);
      },
    };
  }, 10 * 60_000);
  afterAll(async () => {
    close();
    await etcd.stop();
  });
  storeContract("etcd over its JSON gateway", () => subject);

  test("lists more than one page at one revision", async () => {
    for (let at = 0; at < 2100; at += 100) await subject.store.txn([], Array.from({ length: 100 }, (_, number) => ({ put: `/page/${String(at + number).padStart(5, "0")}`, value: "x" })));
    const { items } = await subject.store.list("/page/");
    expect(items).toHaveLength(2100);
    expect(new Set(items.map((item) => item.key)).size).toBe(2100);
  });

  test("goes to the next endpoint when one has surely not run the transaction", async () => {
    const connection = etcd.connect();
    const dead = { ...etcd.endpoint, port: 1 };
    const store = new EtcdStore(connection, [dead, etcd.endpoint]);
    expect((await store.txn([], [{ put: "/next", value: "1" }])).succeeded).toBe(true);
    connection.close();
  });

  test("a member that hangs is NO_QUORUM within the deadline, and a transaction that was sent is not repeated elsewhere", async () => {
    const connection = etcd.connect();
    const store = new EtcdStore(connection, [etcd.endpoint]);
    await store.get("/warm"); // the connection stands, so what follows is sent
    etcd.pause();
    try {
      await expect(store.txn([{ key: "/lost", modRevision: "0" }], [{ put: "/lost", value: "1" }], { timeoutMs: 300 })).rejects.toMatchObject({ code: "NO_QUORUM", retry: "transient" });
    } finally {
      etcd.resume();
    }
    // A lost answer is not a lost act (DESIGN invariant 7): it happens when the member goes on, or never; a write of one's own decides.
    const mine = await store.txn([{ key: "/lost", modRevision: "0" }], [{ put: "/lost", value: "mine" }], { timeoutMs: 5000 });
    expect((await store.get("/lost"))?.value).toBe(mine.succeeded ? "mine" : "1");
    connection.close();
  });

  test("refuses a client with a certificate of another CA, and one without", async () => {
    const { testCa } = await import("../support/cluster-pki.js");
    const { EtcdConnection } = await import("../../daemon/state/etcd-connection.js");
    const other = await (await testCa("test edge CA")).issue("n1");
    for (const tls of [{ ca: etcd.ca.ca, ...other }, { ca: etcd.ca.ca, cert: "", key: "" }]) {
      const connection = new EtcdConnection(tls);
      await expect(connection.post(etcd.endpoint, "/v3/kv/range", { key: "YQ==" }, 3000)).rejects.toThrow();
      connection.close();
    }
    const named = new EtcdConnection({ ca: etcd.ca.ca, ...(await etcd.ca.issue("client")) });
    await expect(named.post({ ...etcd.endpoint, node: "somebody-else" }, "/v3/kv/range", { key: "YQ==" }, 3000)).rejects.toThrow(/names e1, not somebody-else/);
    named.close();
  });
});
