import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OPCODE_NAMES } from "../../../src/torch/pickle/opcodes.ts";
import { mayBegin, PickleStart, type PickleStartKind } from "../../../src/torch/scan/pickle-start.ts";
import { assemble, uint } from "../pickle/assembler.ts";

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** What data is, when it is given in pieces: first so many bytes, then from where it needs more. */
function kindOf(bytes: Uint8Array, piece: number = bytes.length): PickleStartKind {
  const start = new PickleStart(bytes.length);
  let found = start.read(bytes.subarray(0, piece), 0);
  for (let length = piece; typeof found === "number"; length *= 2)
    found = start.read(bytes.subarray(found, found + length), found);
  return found;
}

/** What Python's readers, that in C and that in Python, look up, and what makes them fail before that. */
const CASES: readonly (readonly [what: string, bytes: Uint8Array | string, kind: PickleStartKind])[] = [
  ["GLOBAL", "cos\nsystem\n", "names"],
  ["INST without a mark, which Python's own reader looks up", "ios\nsystem\n", "names"],
  ["STACK_GLOBAL", "\x8c\x02os\x8c\x06system\x93", "names"],
  ["STACK_GLOBAL of a text twice", "X\x02\0\0\0os2\x93", "names"],
  ["STACK_GLOBAL of texts in quotes", "S'os'\nVsystem\n\x93", "names"],
  ["STACK_GLOBAL of what was memorized", "\x8c\x02os\x940h\0h\0\x93", "names"],
  ["a name after values of all kinds", "(lI01\nF1e3\nL5L\n)]}\x8f\x88\x89NK\x01(0cos\nx\n", "names"],
  ["a name after an empty state", "]NbNaN0cos\nx\n", "names"],
  ["a name after a buffer of its own", "U\x01a\x98cos\nx\n", "names"],
  ["a name in its frame", assemble("PROTO", 4, "FRAME", uint(8, 6), latin1("cos\nx\n")), "names"],
  ["a frame within a name", assemble("FRAME", uint(8, 2), latin1("cos\nx\n")), "misframed"],
  ["a frame in a frame", assemble("FRAME", uint(8, 11), "FRAME", uint(8, 0), "NONE", "STOP"), "misframed"],
  [
    "a frame in one that is larger than the data",
    assemble("FRAME", uint(8, 2000), "FRAME", uint(8, 0), "NONE"),
    "harmless",
  ],
  ["a module that cannot be imported", "cos \nsystem\n", "harmless"],
  ["GLOBAL that is cut", "cos\nsys", "harmless"],
  ["STACK_GLOBAL without a text", "NN\x93", "harmless"],
  ["STACK_GLOBAL of one value", "\x8c\x02os\x93", "harmless"],
  ["a call of what is no name", "N)Rcos\nx\n", "harmless"],
  ["a number that is none", "Iab!\ncos\nx\n", "harmless"],
  ["a text without quotes", "Sab\ncos\nx\n", "harmless"],
  ["a memo that is empty", "h\0cos\nx\n", "harmless"],
  ["a protocol that nobody knows", "\x80\x06cos\nx\n", "harmless"],
  ["too few values", "N\x86cos\nx\n", "harmless"],
  ["a tuple without a mark", "Ntcos\nx\n", "harmless"],
  ["an end", "N.cos\nx\n", "harmless"],
  ["an argument beyond the end", "B\xff\xff\xff\x7fcos\nx\n", "harmless"],
  ["nothing", "", "harmless"],
];

for (const [what, bytes, kind] of CASES) {
  test(`${what}: ${kind}`, () => {
    const data = typeof bytes === "string" ? latin1(bytes) : bytes;
    assert.equal(kindOf(data), kind);
    for (let piece = 1; piece < data.length; piece++) assert.equal(kindOf(data, piece), kind, `${piece}`);
  });
}

test("it makes no difference in which pieces data is read", () => {
  const opcodes = [...OPCODE_NAMES.keys()].map((code) => String.fromCharCode(code));
  const part = fc.constantFrom(
    ...opcodes,
    "\x8c\x02os",
    "X\x02\0\0\0os",
    "cos\nx\n",
    "I1\n",
    `\x95\x03${"\0".repeat(7)}`,
  );
  const bytes = fc.array(part, { maxLength: 12 }).map((parts) => latin1(parts.join("")));
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 20 }), (data, piece) => {
      assert.equal(kindOf(data, piece), kindOf(data));
    }),
    { seed: 42, numRuns: 2000 },
  );
});

test("what cannot begin a pickle is harmless, whatever follows", () => {
  const rest = fc.uint8Array({ maxLength: 40 });
  for (let code = 0; code < 256; code++) {
    if (mayBegin(code)) continue;
    const isHarmless = (bytes: Uint8Array) => kindOf(Uint8Array.of(code, ...bytes)) === "harmless";
    fc.assert(fc.property(rest, isHarmless), { seed: 42, numRuns: 20 });
  }
  assert.deepEqual(
    ["PROTO", "MARK", "GLOBAL", "TUPLE1", "STACK_GLOBAL", "BINGET", "STOP"].filter((name) => {
      const [code] = [...OPCODE_NAMES].find(([, known]) => known === name)!;
      return mayBegin(code);
    }),
    ["PROTO", "MARK", "GLOBAL"],
  );
});
