import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { Blobs } from "../../../daemon/api/blob-routes.js";
import { metricsText } from "../../../daemon/api/metrics.js";

const data = randomBytes(200_000);
const sha256 = createHash("sha256").update(data).digest("hex");

test("a blob is kept only when its digest is right, once, and nothing is left of a broken upload", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hc-blobs-"));
  const blobs = new Blobs(folder);
  await expect(blobs.put(sha256, Readable.from([data.subarray(1)]))).rejects.toMatchObject({ code: "INVALID_INPUT" });
  await expect(blobs.put(sha256, Readable.from((function* () { yield data.subarray(0, 10); throw new Error("cut"); })()))).rejects.toThrow("cut");
  expect(readdirSync(folder)).toEqual([]);
  expect(await blobs.size(sha256)).toBeUndefined();
  expect(await blobs.put(sha256, Readable.from([data]))).toEqual({ stored: true, sizeBytes: data.length });
  expect(await blobs.put(sha256, Readable.from([data]))).toEqual({ stored: false, sizeBytes: data.length });
  expect(await blobs.size(sha256)).toBe(data.length);
  writeFileSync(`${folder}/${sha256}.12345678.part`, "half");
  await blobs.clearParts();
  expect(readdirSync(folder)).toEqual([sha256]);
});

test("names that are no digest reach no file", () => {
  const blobs = new Blobs("/nowhere");
  for (const name of ["../../etc/passwd", "", "ABC", `${sha256}x`]) expect(() => blobs.path(name)).toThrow(expect.objectContaining({ code: "INVALID_INPUT" }));
});

test("metrics in Prometheus' text format (golden)", () => {
  expect(metricsText([{ name: "hc_b", labels: {}, value: 1 }, { name: "hc_a_total", labels: { unit: 'x"y\\z\n' }, value: 2 }, { name: "hc_b", labels: { a: "1", b: "2" }, value: Number.NaN }])).toBe(
    '# TYPE hc_a_total counter\nhc_a_total{unit="x\\"y\\\\z\\n"} 2\n# TYPE hc_b gauge\nhc_b 1\nhc_b{a="1",b="2"} 0\n',
  );
});
