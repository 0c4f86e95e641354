import { createZfs } from "../../daemon/zfs/create-zfs.js";
import { probeCapabilities } from "../../daemon/zfs/capabilities.js";
import { withLab } from "../support/lab.js";
import { zfsContract } from "../contract/zfs.js";
import { labSubject } from "../support/zfs-subject.js";

const lab = withLab(2);
zfsContract("command line on lab nodes", async () => [await labSubject(lab.node("n1"), "hpool"), await labSubject(lab.node("n2"), "hpool")]);

test("capabilities of the lab's zfs: none of the later features", async () => {
  const node = lab.node("n1");
  expect(await probeCapabilities(node.runner)).toMatchObject({ bookmarks: false, resumeTokens: false, rawSend: false, compressedSend: false, holdListing: false });
  expect(await createZfs(node.runner).resumable()).toBe(false);
  // the pool is there, so a probe that changed anything would show
  expect((await createZfs(node.runner).datasets("hpool")).some((dataset) => dataset.name.includes("probe"))).toBe(false);
});
