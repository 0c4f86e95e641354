import { createCrypter, openCrypter } from "../../../stacks/engine/secrets/passphrase.js";
import { hasSealed, seal, unseal } from "../../../stacks/engine/secrets/seal.js";
import { secretOf } from "../../../stacks/engine/values.js";

/** From the tests of pulumi/pulumi (pkg/secrets/passphrase): made by the CLI's own code with the passphrase "password". */
const salt = "v1:fozI5u6B030=:v1:F+6ZduKKd8G0/V7L:PGMFeIzwobWRKmEAzUdaQHqC5mMRIQ==";

test("a salt of the CLI opens with its passphrase and no other", async () => {
  expect((await openCrypter("password", salt)).salt).toBe(salt);
  await expect(openCrypter("wrong", salt)).rejects.toMatchObject({ code: "INVALID_INPUT" });
  await expect(openCrypter("password", "fozI5u6B030=:v1:F+6ZduL:x")).rejects.toMatchObject({ code: "INVALID_INPUT" });
});

test("what is encrypted comes back, with another nonce each time, and tampering is noticed", async () => {
  const crypter = await createCrypter("p");
  const again = await openCrypter("p", crypter.salt);
  const text = crypter.encrypt("grüße");
  expect(text).toMatch(/^v1:[\w+/]{16}:[\w+/=]+$/);
  expect(crypter.encrypt("grüße")).not.toBe(text);
  expect(again.decrypt(text)).toBe("grüße");
  const [version, nonce, body] = text.split(":");
  const bytes = Buffer.from(body ?? "", "base64");
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  expect(() => again.decrypt(`${version}:${nonce}:${bytes.toString("base64")}`)).toThrow();
});

test("secrets in values are sealed as the JSON text of their value, at any depth", async () => {
  const crypter = await createCrypter("p");
  const value = { a: secretOf({ deep: [1, "x"] }), b: [secretOf("y"), "clear"], c: null };
  const sealed = seal(value, crypter) as { a: { ciphertext: string } };
  expect(JSON.stringify(sealed)).not.toMatch(/deep|"y"/);
  expect(crypter.decrypt(sealed.a.ciphertext)).toBe('{"deep":[1,"x"]}');
  expect(unseal(sealed, crypter)).toEqual(value);
  expect([hasSealed({ outputs: sealed }), hasSealed({ outputs: { b: "x" } })]).toEqual([true, false]);
});
