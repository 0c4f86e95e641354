import { Readable } from "node:stream";
import fc from "fast-check";
import { type FrameVersion, frame, unframe } from "../../daemon/replication/frames.js";

async function bytesOf(source: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}
const from = (bytes: Buffer, size = 7): Readable => Readable.from((function* () { for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size); })(), { objectMode: false });
async function* chunks(parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> { yield* parts; }
const head = { version: 1, text: "ünïcode" };
const versions = fc.constantFrom<FrameVersion>(1, 2);
const parts = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 8 });

test("property: head and payload come out as they went in, however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(parts, fc.integer({ min: 1, max: 64 }), versions, async (payload, size, version) => {
      const seen = await unframe(from(await bytesOf(frame(head, chunks(payload), undefined, version)), size));
      expect([seen.version, seen.head]).toEqual([version, head]);
      expect(await bytesOf(seen.payload)).toEqual(Buffer.concat(payload));
    }),
    { numRuns: 60 },
  );
});

test("property: a changed or missing byte anywhere is an error, and the last frame was not given out", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { minLength: 1, maxLength: 5 }), fc.nat(), fc.boolean(), versions, async (payload, where, cut, version) => {
      const good = await bytesOf(frame(head, chunks(payload), undefined, version));
      const at = where % good.length;
      const bad = cut ? good.subarray(0, at) : Buffer.from(good);
      if (!cut) bad[at] = (bad[at] as number) ^ 0x01;
      const given: Buffer[] = [];
      await expect(
        (async () => {
          const seen = await unframe(from(bad));
          for await (const chunk of seen.payload) given.push(chunk as Buffer);
        })(),
      ).rejects.toMatchObject({ code: "COMMAND_FAILED", retry: "transient" });
      const [got, whole] = [Buffer.concat(given), Buffer.concat(payload)];
      expect(got.length).toBeLessThan(whole.length);
      // what a resumable receive keeps is what was sent, wherever the damage is
      if (version === 2) expect(got.equals(whole.subarray(0, got.length))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test("an error of the payload ends the framed stream with an error", async () => {
  const source = (async function* () {
    yield Buffer.from("some");
    throw new Error("zfs send failed");
  })();
  await expect(bytesOf(frame(head, source))).rejects.toThrow("zfs send failed");
});
test("large chunks are cut into frames that the reader takes; counts are those of the payload", async () => {
  const big = Buffer.alloc(2_500_000, 7);
  const counts = { payloadBytes: 0 };
  const seen = await unframe(from(await bytesOf(frame(head, chunks([big]), counts, 2)), 65_536));
  expect(await bytesOf(seen.payload)).toEqual(big);
  expect(counts.payloadBytes).toBe(big.length);
});
