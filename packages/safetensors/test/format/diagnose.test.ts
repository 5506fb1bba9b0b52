import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { diagnose, type FileKind } from "../../src/format/diagnose.ts";

const hex = (digits: string): Uint8Array => Uint8Array.from(Buffer.from(digits, "hex"));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const kindOf = (head: Uint8Array): FileKind | undefined => diagnose(head, head.length)?.kind;

/** Bytes of `length` with pieces of Latin-1 text at some places. */
function layOut(length: number, pieces: Record<number, string>): Uint8Array {
  const bytes = new Uint8Array(length);
  for (const [at, text] of Object.entries(pieces)) bytes.set(Buffer.from(text, "latin1"), Number(at));
  return bytes;
}

/** First bytes as the tools themselves wrote them: torch 2.13, numpy 2, CPython 3.11, gzip, bzip2, xz, zstd, linkers. */
// biome-ignore format: a line for each file
const WRITTEN: readonly (readonly [FileKind, what: string, head: string])[] = [
  ["torch-zip", "torch.save", "504b03040000080800000000000000000000000000000000000010001200617263686976652f646174612e706b6c46420e005a5a5a5a"],
  ["torch-zip", "torch.jit.save", "504b0304000008080000000000000000000000000000000000000e001400617263686976652f646174612f30464210005a5a5a5a"],
  ["torch-legacy", "protocol 2", "80028a0a6cfc9c46f9206aa850192e80024de9032e80027d710028581000000070726f746f636f6c5f76657273696f6e71014de903"],
  ["torch-legacy", "protocol 4", "8004950d000000000000008a0a6cfc9c46f9206aa850192e80049504000000000000004de9032e80049558000000000000007d94"],
  ["pickle", "protocol 0, dict", "286470300a56610a70310a286c70320a49310a6149320a61"],
  ["pickle", "protocol 0, list", "286c70300a49310a6149320a612e"],
  ["pickle", "protocol 0, array", "636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a70300a"],
  ["pickle", "protocol 1, dict", "7d71002858010000006171015d7102284b014b0265580100"],
  ["pickle", "protocol 1, list", "5d7100284b014b02652e"],
  ["pickle", "protocol 1, array", "636e756d70792e5f636f72652e6d756c746961727261790a5f7265636f6e7374727563740a710028"],
  ["pickle", "protocol 2", "80027d71002858010000006171015d7102284b014b026558"],
  ["pickle", "protocol 3", "80037d71002858010000006171015d7102284b014b026558"],
  ["pickle", "protocol 4", "80049517000000000000007d94288c0161945d94284b014b"],
  ["pickle", "protocol 5", "80059517000000000000007d94288c0161945d94284b014b"],
  ["npy", "numpy.save", "934e554d5059010076007b2764657363"],
  ["npz", "numpy.savez", "504b03042d0000000000000021006e99b228ffffffffffffffff05001400772e6e70790100100090"],
  ["npz", "numpy.savez_compressed", "504b03042d0000000800000021006e99b228ffffffffffffffff05001400772e6e70790100100090"],
  ["zip", "zipfile, one member", "504b030414000000000020b4795d8316dc8c0100000001000000110000006d6f64656c2e7361666574656e736f727378504b"],
  ["zip", "zipfile, no member", "504b0506000000000000000000000000000000000000"],
  ["gzip", "gzip", "1f8b0800000000000203cb48"],
  ["bzip2", "bzip2", "425a68393141592653591931"],
  ["xz", "xz", "fd377a585a000004e6d6b446"],
  ["zstd", "zstd", "28b52ffd045831000068656c6c6f0a5388bd91"],
  ["zlib", "level 1", "7801cb48cdc9c9cf20920000"],
  ["zlib", "level 6", "789ccb48cdc9c9cf20920000"],
  ["zlib", "level 9", "78dacb48cdc9c9cf20920000"],
  ["elf", "a program of Linux", "7f454c4602010100000000000000000003003e0001000000d061000000000000"],
  ["pe", "a program of Windows", "4d5a90000300000004000000ffff0000b800000000000000400000000000000000000000000000000000000000000000000000000000000000000000f0000000"],
];

/** First bytes as the specifications of the formats give them. */
// biome-ignore format: a line for each file
const SPECIFIED: readonly (readonly [FileKind, what: string, head: Uint8Array])[] = [
  ["torch-tar", "torch 0.1", layOut(1024, { 0: "sys_info", 257: "ustar\x0000" })],
  ["tar", "POSIX", layOut(1024, { 0: "model_weights.ckpt", 257: "ustar\x0000" })],
  ["tar", "GNU", layOut(1024, { 0: "model_weights.ckpt", 257: "ustar  \0" })],
  ["gguf", "version 3", layOut(24, { 0: "GGUF\x03\0\0\0", 8: "\x23\x01" })],
  ["gguf", "version 3, big-endian", layOut(24, { 0: "GGUF\0\0\0\x03" })],
  ["ggml", "without a version", layOut(16, { 0: "lmgg\0\x7d\0\0" })],
  ["ggml", "ggjt version 3", layOut(16, { 0: "tjgg\x03\0\0\0" })],
  ["hdf5", "superblock 0", layOut(16, { 0: "\x89HDF\r\n\x1a\n" })],
  ["onnx", "exported by PyTorch", layOut(32, { 0: "\x08\x08\x12\x07pytorch\x1a\x05" + "2.1.0:" })],
  ["onnx", "quantised", layOut(32, { 0: "\x08\x0a\x12\x0donnx.quantize\x1a\x05" })],
  ["tflite", "schema 3", layOut(16, { 0: "\x1c\0\0\0TFL3" })],
  ["parquet", "dictionary page", layOut(16, { 0: "PAR1\x15\x04\x15\x10" })],
  ["7z", "version 0.4", layOut(16, { 0: "7z\xbc\xaf\x27\x1c\0\x04" })],
  ["rar", "version 5", layOut(16, { 0: "Rar!\x1a\x07\x01\0" })],
  ["pdf", "version 1.7", layOut(16, { 0: "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" })],
  ["png", "IHDR", layOut(16, { 0: "\x89PNG\r\n\x1a\n\0\0\0\rIHDR" })],
  ["jpeg", "JFIF", layOut(16, { 0: "\xff\xd8\xff\xe0\0\x10JFIF" })],
  ["zeros", "a reserved file", new Uint8Array(4096)],
  ["zeros", "a very short one", new Uint8Array(3)],
];

const POINTER =
  "version https://git-lfs.github.com/spec/v1\n" +
  "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 5368709120\n";

/** Texts, with the description that they get. */
// biome-ignore format: a line for each text
const TEXTS: readonly (readonly [FileKind, text: string, description: string])[] = [
  ["git-lfs-pointer", POINTER, "a Git LFS pointer to a file of 5368709120 bytes that was not downloaded"],
  ["git-lfs-pointer", POINTER.replace("oid", "ext-0-case sha256:0a\noid"), "a Git LFS pointer to a file of 5368709120 bytes that was not downloaded"],
  ["html", "\n<!DOCTYPE html>\n<html><head>\n<title>\n  Sign in </title>", 'an HTML page titled "Sign in"'],
  ["html", "<html><body>404</body></html>", "an HTML page"],
  ["xml", '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>', 'a storage server\'s answer "AccessDenied" (XML)'],
  ["xml", "<Error><Code>NoSuchKey</Code></Error>", 'a storage server\'s answer "NoSuchKey" (XML)'],
  ["xml", '<?xml version="1.0"?><net name="model"/>', "an XML document"],
  ["shard-index", '{"metadata": {"total_size": 8}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}', "the index of a checkpoint in several files (JSON)"],
  ["json-error", '{"error":"Repository not found"}', 'a server\'s answer "Repository not found" (JSON)'],
  ["json-error", '{"error": {"code": 404, "message": "no \\"such\\" file"}}', 'a server\'s answer "no \\\\\\"such\\\\\\" file" (JSON)'],
  ["json", '{"architectures": ["LlamaForCausalLM"]}', "a JSON text"],
  ["json", "\ufeff [1, 2]", "a JSON text"],
  ["text", "Entry not found", 'a text that begins "Entry not found"'],
  ["text", "\n\n# Modèle\nUn modèle", 'a text that begins "# Modèle"'],
  ["text", "\u202eevil", 'a text that begins "\\u202eevil"'],
];

const headerHead = fc
  .record({
    length: fc.nat(0xffffffff),
    padding: fc.stringMatching(/^[ \t\r\n]{0,9}$/),
    rest: fc.uint8Array(),
  })
  .map(({ length, padding, rest }) => {
    const prefix = new Uint8Array(8);
    new DataView(prefix.buffer).setUint32(0, length, true);
    return new Uint8Array([...prefix, ...utf8(`${padding}{`), ...rest]);
  });

describe("diagnose", () => {
  for (const [kind, what, head] of WRITTEN) {
    it(`recognises ${kind} (${what})`, () => assert.equal(kindOf(hex(head)), kind));
  }
  for (const [kind, what, head] of SPECIFIED) {
    it(`recognises ${kind} (${what})`, () => assert.equal(kindOf(head), kind));
  }
  for (const [kind, text, description] of TEXTS) {
    it(`recognises ${kind} (${description})`, () => {
      const found = diagnose(utf8(text), utf8(text).length);
      assert.equal(found?.kind, kind);
      assert.equal(found?.description, description);
    });
  }

  it("recognises an empty file", () => assert.equal(diagnose(new Uint8Array(0), 0)?.kind, "empty"));

  it("gives an advice with each kind", () => {
    const heads = [...WRITTEN.map(([, , head]) => hex(head)), ...TEXTS.map(([, text]) => utf8(text))];
    for (const head of heads) assert.match(diagnose(head, head.length)?.advice ?? "", /^[A-Z].*\.$/);
  });

  it("takes a ZIP for a PyTorch file by the name of its first member alone", () => {
    const zip = (name: string, after: string) =>
      layOut(999, {
        0: "PK\x03\x04",
        26: String.fromCharCode(name.length % 256, name.length >> 8),
        30: name + after,
      });
    assert.equal(kindOf(zip("model/.format_version", "1")), "torch-zip");
    assert.equal(kindOf(zip(`${"model".repeat(99)}/byteorder`, "little")), "torch-zip");
    assert.equal(kindOf(zip("a/b/data/7", "")), "zip");
    assert.equal(kindOf(zip("data.pkl", "")), "zip");
    assert.equal(kindOf(zip("model/", "data.pkl")), "zip");
    assert.equal(kindOf(zip("model/data/readme.txt", "")), "zip");
    assert.equal(kindOf(zip("w.npy.txt", "")), "zip");
  });

  it("does not take text for a binary format that begins with letters", () => {
    for (const text of [
      "GGUF files",
      "MZ and more",
      "PAR1 is",
      "x^2",
      "cat\ndog\npig\n",
      "}q",
      "Rar! it says",
      "BZh9",
    ]) {
      assert.equal(kindOf(utf8(text)), "text", text);
    }
  });

  it("sees text although the head ends inside a character", () => {
    const head = utf8("é".repeat(3000)).subarray(0, 4095);
    assert.equal(diagnose(head, 6000)?.kind, "text");
  });

  it("does not take a safetensors file for anything, whatever its header's length looks like", () => {
    fc.assert(
      fc.property(headerHead, (head) => diagnose(head, head.length) === undefined),
      { seed: 42, numRuns: 500 },
    );
    assert.equal(kindOf(hex("8002000000000000")), undefined);
    for (const [, , head] of WRITTEN) {
      const disguised = new Uint8Array([...hex(head).subarray(0, 4), 0, 0, 0, 0, ...utf8('{"a":')]);
      assert.equal(kindOf(disguised), undefined);
    }
  });

  it("never throws, on any bytes and on any cut of known ones", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (head) => void diagnose(head, head.length)),
      { seed: 42, numRuns: 500 },
    );
    for (const [, , head] of WRITTEN) {
      for (let length = 1; length < head.length / 2; length++) diagnose(hex(head).subarray(0, length), 1e6);
    }
  });

  it("looks at no more than the first 4 KiB and takes linear time on hostile text", () => {
    const started = performance.now();
    for (const text of [
      `<html${"<title>".repeat(1e5)}`,
      `{"error"${":".repeat(1e6)}`,
      `{"error"${": ".repeat(1e6)}`,
    ]) {
      diagnose(utf8(text), text.length);
    }
    assert.ok(performance.now() - started < 1000);
  });
});
