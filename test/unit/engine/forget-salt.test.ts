import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { forgetSalt, stackCrypter } from "../../../stacks/engine/secrets/stack-config.js";

const root = mkdtempSync(join(tmpdir(), "hc-salt-"));
const file = join(root, "Pulumi.local.yaml");
const crypterWith = (passphrase: string) => stackCrypter({ projectRoot: root, stack: "local", workspace: join(root, "none"), stateSalt: undefined, env: { PULUMI_CONFIG_PASSPHRASE: passphrase } });
afterAll(() => rmSync(root, { recursive: true, force: true }));
afterEach(() => rmSync(file, { force: true }));

test("a stack that was removed can be made anew with another passphrase", async () => {
  await crypterWith("one");
  await expect(crypterWith("two")).rejects.toMatchObject({ code: "INVALID_INPUT" });
  expect([await forgetSalt(root, "local"), existsSync(file)]).toEqual([true, false]);
  await crypterWith("two");
  expect(await forgetSalt(root, "none")).toBe(true);
});
test("what else the file says stays", async () => {
  writeFileSync(file, "config:\n  hybridcluster:lab: demo # which one\n");
  await crypterWith("one");
  expect(await forgetSalt(root, "local")).toBe(true);
  expect(readFileSync(file, "utf8")).toBe("config:\n  hybridcluster:lab: demo # which one\n");
});
test("secrets in the file keep its salt: the passphrase must be kept for them", async () => {
  const secret = (await crypterWith("one")).encrypt("hush");
  writeFileSync(file, `${readFileSync(file, "utf8")}config:\n  a:key:\n    secure: ${secret}\n`);
  const before = readFileSync(file, "utf8");
  expect([await forgetSalt(root, "local"), readFileSync(file, "utf8")]).toEqual([false, before]);
});
