import fc from "fast-check";
import { BodyReader, FramingError } from "../../daemon/proxy/body-framing.js";

function readAll(framing: ConstructorParameters<typeof BodyReader>[0], pieces: readonly Buffer[]): { payload: string; used: number; done: boolean } {
  const reader = new BodyReader(framing);
  const payload: Buffer[] = [];
  let used = 0;
  for (const piece of pieces) {
    const taken = reader.take(piece, (data) => payload.push(Buffer.from(data)));
    used += taken;
    if (taken < piece.length) break;
  }
  return { payload: Buffer.concat(payload).toString("latin1"), used, done: reader.done };
}
const chunked = { kind: "chunked" } as const;

test("a chunked body cut at every offset reads the same, and what follows stays", () => {
  const body = "4;ext=1\r\nWiki\r\n0005\r\npedia\r\n0\r\nX-Sum: x\r\n\r\n";
  const bytes = Buffer.from(`${body}GET / HTTP/1.1`);
  for (let cut = 0; cut <= bytes.length; cut += 1) expect(readAll(chunked, [bytes.subarray(0, cut), bytes.subarray(cut)])).toEqual({ payload: "Wikipedia", used: body.length, done: true });
});
test("byte by byte", () => {
  const body = Buffer.from("a\r\n0123456789\r\n0\r\n\r\n");
  expect(readAll(chunked, [...body].map((byte) => Buffer.from([byte])))).toEqual({ payload: "0123456789", used: body.length, done: true });
});
test("any chunking of any payload", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 })), fc.array(fc.nat(200), { maxLength: 5 }), (parts, cuts) => {
    const bytes = Buffer.concat([...parts.map((part) => Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\n")])), Buffer.from("0\r\n\r\n")]);
    const at = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b);
    const pieces = [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length));
    expect(readAll(chunked, pieces)).toEqual({ payload: Buffer.concat(parts).toString("latin1"), used: bytes.length, done: true });
  }));
});
test.each(["g\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 \r\n1", "1\nA", "1\r\nAB\r\n", "fffffffffffff\r\n", "\r\n", `1;${"a".repeat(300)}\r\n`, "0\r\nbad trailer\r\n\r\n"])("refuses %j", (text) => {
  expect(() => readAll(chunked, [Buffer.from(text)])).toThrow();
});
test("a length ends exactly", () => {
  expect(readAll({ kind: "length", bytes: 3 }, [Buffer.from("ab"), Buffer.from("cdef")])).toEqual({ payload: "abc", used: 3, done: true });
});
test("after a refusal nothing more is taken", () => {
  const reader = new BodyReader(chunked);
  expect(() => reader.take(Buffer.from("x"))).toThrow(FramingError);
  expect(() => reader.take(Buffer.from("1\r\na\r\n0\r\n\r\n"))).toThrow(FramingError);
});
