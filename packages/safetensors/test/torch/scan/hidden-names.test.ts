import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import type { ByteSource } from "../../../src/source/source.ts";
import { scan } from "../../../src/torch/scan/index.ts";
import { concat } from "../../support.ts";
import { assemble, type Part, text, uint } from "../pickle/assembler.ts";
import { call, global, tensor, torchFile } from "../torch-file.ts";
import { checkRow, type Row, scanned } from "./scanned.ts";

const utf8 = (content: string): Uint8Array => new TextEncoder().encode(content);
const pickle = (...parts: readonly Part[]): Uint8Array => assemble("PROTO", 4, ...parts, "STOP");
const bytesOf = (bytes: Uint8Array): Uint8Array => assemble("BINBYTES", uint(4, bytes.length), bytes);
const LOADED = "torch.storage._load_from_bytes";

/** What Python takes, and the machine does not, so that only a sweep sees what follows. */
const REFUSED = "I0x1\n0";
/** STACK_GLOBAL in text: an entry of the memo has the number of the byte before. */
const NAMED = "q\u0093";
const LONG = `${"path.os.".repeat(140)}getcwd`;

const TEXTS: readonly Row[] = [
  ["texts of Python 2", utf8(`S'\\x6fs'\nS'getcwd'\n${NAMED}(tR.`), "dangerous", "forbidden-global"],
  [
    "texts of Python 2 that cannot be undone",
    utf8(`S'o\\qs'\nS'getcwd'\n${NAMED}(tR.`),
    "incomplete",
    "hidden-name",
  ],
  [
    "texts with escapes after what is refused",
    utf8(`${REFUSED}V\\u006fs\nVgetcwd\n${NAMED}(tR.`),
    "dangerous",
    "forbidden-global",
  ],
  [
    "texts behind others that can be no names",
    utf8(`${REFUSED}Vos\nVgetcwd\nVa b\nVc d\n00${NAMED}(tR.`),
    "incomplete",
    "hidden-name",
  ],
  ["a long name after what is refused", utf8(`${REFUSED}cos\n${LONG}\n(tR.`), "incomplete", "hidden-name"],
  ["letters of another alphabet", utf8("cmodulé\nrun\n(tR."), "incomplete", "unknown-global"],
  ["a hyphen after what is refused", utf8(`${REFUSED}cmy-module\nrun\n(tR.`), "incomplete", "unknown-global"],
  ["INST in a last line that does not end", utf8("(S'id'\nios\nsystemX"), "dangerous", "forbidden-global"],
  [
    "loaded text",
    pickle(call(LOADED, bytesOf(utf8(`S'\\x6fs'\nS'getcwd'\n${NAMED}(tR.`)))),
    "dangerous",
    "forbidden-global",
  ],
  ["loaded text that is no pickle", pickle(call(LOADED, bytesOf(utf8("text\n")))), "incomplete"],
  ["a class of TorchScript without its archive", pickle(call("__torch__.eval", "x")), "incomplete"],
];

const storage = (data: Uint8Array): Uint8Array =>
  torchFile({
    "data.pkl": assemble("PROTO", 2, tensor(), "STOP"),
    "data/0": new Uint8Array(48),
    "data/1": data,
  });
const STORAGES: readonly Row[] = [
  ["letters of another alphabet", storage(utf8("cmodulé\nrun\n(tR.")), "incomplete", "unknown-global"],
  ["INST in a last line that does not end", storage(utf8("(S'id'\nios\nsystemX")), "dangerous"],
  ["INST without a mark", storage(utf8("Nios\nsystem\n.")), "dangerous", "forbidden-global"],
  // What random data looks like, once in some hundred thousand storages: all readers of Python fail before the name, or at it.
  [
    "text that nobody can decode",
    storage(assemble("SHORT_BINUNICODE", uint(1, 2), uint(2, 0xfbf8), "STACK_GLOBAL")),
    "clean",
  ],
  [
    "a name that is no text",
    storage(assemble("NEWTRUE", "SHORT_BINSTRING", uint(1, 2), uint(2, 0xc5c5), "STACK_GLOBAL")),
    "clean",
  ],
  [
    "a name of nothing",
    storage(assemble("SHORT_BINSTRING", uint(1, 1), uint(1, 1), "MARK", "STACK_GLOBAL")),
    "clean",
  ],
  [
    "half of a surrogate pair, which Python can decode",
    storage(
      assemble(
        "SHORT_BINUNICODE",
        uint(1, 3),
        uint(2, 0xa0ed),
        uint(1, 0x80),
        "SHORT_BINUNICODE",
        uint(1, 3),
        uint(2, 0xb0ed),
        uint(1, 0x80),
        "POP",
        "POP",
        text("os"),
        text("system"),
        "STACK_GLOBAL",
      ),
    ),
    "dangerous",
  ],
  ["a number that ends at a NUL", storage(utf8("I5\0x\n0cos\nsystem\n(S'id'\ntR.")), "dangerous"],
];

const LISTS: readonly Row[] = [
  ...[
    ["words", "cat\ndog\nfish\n"],
    ["words and a dot", "chair\ntable\n.rest\n"],
    ["words of INST", "iron\nsteel\n"],
    ["two words", "class_a\nclass_b\nclass_c"],
    ["words of SETITEM", "cell\nstone\nsystem\n"],
    ["words of GET", "gold\nchair\ntable\nrest\n"],
    ["long lines", `c${"a long line ".repeat(100)}\n${"another ".repeat(200)}\n`],
  ].map(([what, content]): Row => [what!, utf8(content!), "clean"]),
  ["a call", utf8("cnumexpr\nevaluate\n(S'1'\ntR."), "incomplete", "unknown-global"],
  ["a call by INST", utf8("(S'1'\ninumexpr\nevaluate\n."), "incomplete", "unknown-global"],
  ["a state for a name", utf8("cnumexpr\nevaluate\n(db."), "incomplete", "unknown-global"],
  ["a call in a second pickle", utf8("cnumexpr\nevaluate\n.cnumexpr\nevaluate\n(S'1'\ntR."), "incomplete"],
  ["a name that can do harm", utf8("cos\nsystem\nfish\n"), "dangerous", "forbidden-global"],
];

const zfile = (size: string, content: Uint8Array): Uint8Array => concat([utf8(`ZF${size}`), content]);
const PACKED = deflateSync(pickle(global("os.system")));
const ZFILES: readonly Row[] = [
  ["as joblib reads it", zfile("0x20".padEnd(19), PACKED), "dangerous", "forbidden-global"],
  ["as Python 2 wrote it", zfile("0x20".padEnd(20), PACKED), "dangerous", "forbidden-global"],
  [
    "with a small window",
    zfile(" +2_0".padEnd(19), deflateSync(pickle(global("os.system")), { windowBits: 9 })),
    "dangerous",
  ],
  ["that is damaged", zfile("0x20".padEnd(19), utf8("text")), "incomplete", "compressed"],
  [
    "that is only stored, as zlib packs it",
    deflateSync(pickle(global("os.system")), { level: 0 }),
    "dangerous",
  ],
  [
    "and safetensors with a header of a length as zlib begins",
    concat([uint(8, 0x178), utf8("{}".padEnd(0x178))]),
    "clean",
  ],
  ["that is another text", utf8("ZF is a company in Friedrichshafen"), "clean"],
];

for (const [title, rows] of Object.entries({ TEXTS, STORAGES, LISTS, ZFILES }))
  for (const row of rows) test(`hidden names, ${title.toLowerCase()}: ${row[0]}`, () => checkRow(row));

test("a class of TorchScript without its archive is listed as unknown", async () => {
  const { globals } = await scanned(pickle(call("__torch__.eval", text("x"))));
  assert.deepEqual(
    globals.map(({ name, role }) => [name, role]),
    [["__torch__.eval", "unknown"]],
  );
});

/** A file of zeros after its first bytes. */
function zerosAfter(head: Uint8Array, size: number): ByteSource {
  return {
    size,
    name: "model.safetensors",
    cost: { operation: 0, byte: 0 },
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      bytes.set(head.subarray(offset, offset + length));
      return bytes;
    },
  };
}

/** A safetensors file of so many bytes whose header's length begins as a text that ends where `opcodes` stand in the header. */
function safetensorsWith(opcodes: string, size: number): ByteSource {
  const length = 0x5055;
  const data = size - 8 - length;
  const before = `{"__metadata__":{"note":"${"x".repeat(0x50 + 2 - 8 - 25)}${opcodes}"},`;
  const header = `${before}"w":{"dtype":"U8","shape":[${data}],"data_offsets":[0,${data}]}}`;
  return zerosAfter(concat([uint(8, length), utf8(header.padEnd(length))]), size);
}

test("data that goes on as a pickle where reading ends is not clean", async () => {
  const { verdict, findings } = await scan(safetensorsWith("V", 2 ** 29 + 2 ** 20));
  assert.equal(verdict, "incomplete");
  assert.ok(findings.some(({ code }) => code === "limit"));
});

test("data that goes on as none there is clean", async () => {
  // A text of 0x20202020 bytes.
  const { verdict, findings } = await scan(safetensorsWith("B    ", 0x20202020 + 2 ** 20));
  assert.deepEqual([verdict, findings], ["clean", []]);
});
