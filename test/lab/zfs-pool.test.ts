import { defaultPaths } from "../../daemon/lib/node-config.js";
import { zfsPoolHandler } from "../../providers/handlers/zfs-pool.js";
import type { ZfsPoolInputs } from "../../providers/schemas/zfs-pool.js";
import { type TestNode, withLab } from "../support/lab.js";

const minute = 60_000;
const disk = "/disks/d0.img";
const lab = withLab(1, { disks: [String(256 << 20), String(256 << 20), String(256 << 20)] });

async function wish(node: TestNode, more: Partial<ZfsPoolInputs> = {}, olds: Partial<ZfsPoolInputs> = {}): Promise<ZfsPoolInputs> {
  const { name, address, port, user, hostKey, privateKeyPath } = node;
  const { inputs, failures } = await zfsPoolHandler.check(olds, { name: "n1-pool", connection: { node: name, address, port, user, hostKey, privateKeyPath, paths: defaultPaths }, pool: "hpool", vdevs: [{ file: disk }], ...more } as ZfsPoolInputs);
  expect(failures).toEqual([]);
  return inputs;
}

describe("ZfsPool", () => {
  it("is made, is left alone, grows, and refuses what cannot be", async () => {
    const node = lab.node("n1");
    const inputs = await wish(node);
    const { id, outs } = await zfsPoolHandler.create(inputs);
    expect(id).toBe("n1/hpool/hc");
    expect(await node.ok(["zfs", "get", "-H", "-o", "property,value", "hybridcluster:pool,mountpoint,atime,mounted", "hpool/hc"])).toBe("hybridcluster:pool\tn1-pool\nmountpoint\t/hc\natime\toff\nmounted\tyes\n");
    expect(await zfsPoolHandler.diff(id, outs, inputs)).toMatchObject({ changes: false });
    const guid = await node.ok(["zpool", "get", "-H", "guid", "hpool"]);
    await zfsPoolHandler.create(inputs); // once more, as after a kill
    expect(await node.ok(["zpool", "get", "-H", "guid", "hpool"])).toBe(guid);
    expect(await zfsPoolHandler.read(id, outs)).toEqual({ id, props: outs });
    // half made: the pool without its dataset
    await node.sh("zfs destroy hpool/hc");
    expect((await zfsPoolHandler.read(id, outs)).id).toBe("");
    await zfsPoolHandler.update(id, outs, inputs);

    const more = await wish(node, { vdevs: [{ file: disk }, { mirror: ["/disks/d1.img", "/disks/d2.img"] }] }, outs);
    expect(await zfsPoolHandler.diff(id, outs, more)).toMatchObject({ changes: true, replaces: [] });
    await expect(zfsPoolHandler.update(id, outs, { ...more, vdevs: [{ mirror: [disk, "/disks/d1.img"] }] })).rejects.toMatchObject({ code: "IMPOSSIBLE_CHANGE" });
    // zpool itself refuses to mix a file with a mirror without -f: nothing is forced, and the reason comes through
    await expect(zfsPoolHandler.update(id, outs, more)).rejects.toMatchObject({ partial: true, message: expect.stringContaining("mismatched replication level") });
    const grown = await wish(node, { vdevs: [{ file: disk }, { file: "/disks/d1.img" }] }, outs);
    const after = (await zfsPoolHandler.update(id, outs, grown)).outs;
    expect((await node.sh("zpool status hpool | grep -c /disks/")).trim()).toBe("2");
    expect((await zfsPoolHandler.check(after, inputs)).failures).toEqual([expect.objectContaining({ property: "vdevs", reason: expect.stringContaining("can only grow") })]);

    // another name is another pool: only with the old one's name
    const renamed = { ...inputs, vdevs: grown.vdevs, pool: "tank" };
    expect((await zfsPoolHandler.check(after, renamed)).failures).toEqual([expect.objectContaining({ property: "pool", reason: expect.stringContaining('allowReplace: "hpool/hc"') })]);
    expect((await zfsPoolHandler.check(after, { ...renamed, allowReplace: "hpool/hc" })).failures).toEqual([]);
    expect(await zfsPoolHandler.diff(id, after, renamed)).toMatchObject({ changes: true, replaces: ["pool"], deleteBeforeReplace: true });
    // what belongs to one resource is not another's
    await expect(zfsPoolHandler.create({ ...grown, name: "other" })).rejects.toMatchObject({ code: "ALREADY_EXISTS", message: expect.stringContaining("belongs to ZfsPool n1-pool") });
  }, 2 * minute);

  it("is not destroyed while units or trash are in it, unless it is ephemeral", async () => {
    const node = lab.node("n1");
    const props = await wish(node, { vdevs: [{ file: disk }, { file: "/disks/d1.img" }] });
    await node.sh("zfs create -o hybridcluster:unit=site-a hpool/hc/site-a; zfs create hpool/hc/tmpl-a; zfs snapshot hpool/hc/tmpl-a@1; zfs create hpool/hc/trash; zfs clone hpool/hc/tmpl-a@1 hpool/hc/trash/site-b");
    await expect(zfsPoolHandler.delete("x", props)).rejects.toMatchObject({ code: "POOL_IN_USE", message: expect.stringMatching(/site-a.*trash\/site-b/) });
    await node.sh("zfs destroy hpool/hc/site-a");
    await expect(zfsPoolHandler.delete("x", props)).rejects.toMatchObject({ code: "POOL_IN_USE" });
    await zfsPoolHandler.delete("x", { ...props, ephemeral: true });
    expect((await node.exec(["zpool", "list", "hpool"])).code).not.toBe(0);
    await zfsPoolHandler.delete("x", props); // again: success
  }, minute);

  it("lives under one dataset of a pool that was there, and leaves that pool", async () => {
    const node = lab.node("n1");
    await node.sh("zpool create -f tank /disks/d2.img; zfs create tank/home; echo letter > /tank/home/letter");
    const plain = await wish(node, { pool: "tank", vdevs: [] });
    await expect(zfsPoolHandler.create(plain)).rejects.toMatchObject({ code: "ALREADY_EXISTS", message: expect.stringContaining("adopt: true") });
    const props = await wish(node, { pool: "tank", vdevs: [], adopt: true, under: "hosting/hc" });
    const { id, outs } = await zfsPoolHandler.create(props);
    expect(await zfsPoolHandler.read(id, outs)).toEqual({ id, props: outs });
    await node.sh("zpool export tank"); // as after a move of the disks
    expect((await zfsPoolHandler.read(id, outs)).id).toBe("");
    await expect(zfsPoolHandler.create({ ...props, adopt: false, vdevs: [{ file: "/disks/d2.img" }] })).rejects.toMatchObject({ code: "ALREADY_EXISTS", message: expect.stringContaining("exported") });
    await zfsPoolHandler.update(id, outs, { ...props, vdevs: [{ file: "/disks/d2.img" }] });
    await zfsPoolHandler.delete(id, outs);
    expect(await node.ok(["cat", "/tank/home/letter"])).toBe("letter\n");
    expect((await node.exec(["zfs", "list", "tank/hosting/hc"])).code).not.toBe(0);
  }, minute);
});
