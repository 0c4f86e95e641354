import { EtcdHealth } from "../../../daemon/membership/etcd-health.js";

function health(hasMember: boolean) {
  const facts = { leader: "1", learner: false, agoMs: Number.POSITIVE_INFINITY, asked: [] as string[], preferred: 0, of: [] as (string | undefined)[], down: false };
  const own = { node: "n1", address: "127.0.0.1", port: 2379 };
  const seen = new EtcdHealth({
    etcd: {
      status: async ({ node }) => {
        facts.asked.push(node);
        if (facts.down) throw new Error("ECONNREFUSED");
        return { leader: facts.leader, member: "1", learner: facts.learner, dbSizeBytes: "0", revision: "1", etcdCluster: "1" };
      },
      fsync: async () => ({ seconds: 0, count: 0 }),
    },
    member: { hasMember: () => hasMember, ownEndpoint: () => own },
    store: { endpoints: () => (hasMember ? [own, { ...own, node: "n2" }] : [{ ...own, node: "n2" }]), answeredAgoMs: (node) => {
      facts.of.push(node);
      return facts.agoMs;
    }, preferFirst: () => {
      facts.preferred += 1;
    } },
  });
  return { facts, seen };
}

test("a member whose answers the session has just had is asked for its state every fifth look only", async () => {
  const { facts, seen } = health(true);
  facts.agoMs = 900;
  for (let look = 0; look < 10; look += 1) await seen.look();
  expect(facts.asked).toEqual(["n1", "n1"]);
  expect(new Set(facts.of)).toEqual(new Set(["n1"])); // what another member answered says nothing of the own one
  expect(seen.last()).toMatchObject({ role: "voter", healthy: true });
});
test("one that has not answered lately, has no leader or only learns is asked at each look, and what it says is told at once", async () => {
  const { facts, seen } = health(true);
  facts.learner = true;
  facts.agoMs = 900;
  for (let look = 0; look < 3; look += 1) await seen.look();
  expect([facts.asked.length, seen.last().role]).toEqual([3, "learner"]);
  facts.learner = false;
  await seen.look();
  facts.agoMs = 2_500;
  facts.leader = "0";
  await seen.look();
  expect(seen.last()).toMatchObject({ healthy: false, why: "there is no leader" });
  facts.agoMs = 900;
  facts.down = true;
  await seen.look();
  expect(seen.last()).toMatchObject({ role: "voter", healthy: false, why: "ECONNREFUSED" });
  expect(facts.asked.length).toBe(6);
});
test("a node without a member goes by whoever answers its calls", async () => {
  const { facts, seen } = health(false);
  facts.agoMs = 900;
  for (let look = 0; look < 5; look += 1) await seen.look();
  expect([facts.asked, new Set(facts.of), seen.last().role]).toEqual([["n2"], new Set([undefined]), "client"]);
});

test("calls that went on to another voter come back to the own member when it has been well for two looks, and not to one that only learns or follows nobody", async () => {
  const { facts, seen } = health(true);
  await seen.look();
  expect(facts.preferred).toBe(0);
  await seen.look();
  expect(facts.preferred).toBe(1);
  facts.leader = "0";
  await seen.look();
  facts.leader = "1";
  await seen.look(); // well again, for one look
  facts.learner = true;
  await seen.look();
  expect(facts.preferred).toBe(1);
  const client = health(false);
  for (let look = 0; look < 3; look += 1) await client.seen.look();
  expect(client.facts.preferred).toBe(0);
});
