import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import { fromBytes } from "../../src/source/memory.ts";
import { openTorch, torchReader } from "../../src/torch/index.ts";
import { fixture } from "../fixtures.ts";
import { handMade, noise, raises } from "../support.ts";

const plain = fixture("torch/state-dict.pt");
const openBytes = (file: Uint8Array) => openTorch(fromBytes(file));

/** A stream that changes nothing, as that of an unknown compression. */
function identity(head: number) {
  return (_: string, compressed: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> => {
    let left = head;
    return compressed.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          const skipped = Math.min(left, piece.length);
          left -= skipped;
          controller.enqueue(piece.subarray(skipped));
        },
      }),
    );
  };
}

const ZSTD = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

test("a file compressed as a whole is read from memory", async () => {
  const expected = await openBytes(plain);
  for (const file of [gzipSync(plain), deflateSync(plain), deflateSync(plain, { level: 0 })]) {
    assert.ok(torchReader.recognises(file.subarray(0, 65_536)));
    const checkpoint = await openBytes(file);
    for (const tensor of expected)
      assert.deepEqual(await checkpoint.get(tensor.name).bytes(), await tensor.bytes());
  }
});

test("the caller may bring what undoes other compressions", async () => {
  const file = Buffer.concat([ZSTD, plain]);
  const asked: string[] = [];
  const checkpoint = await openTorch(fromBytes(file), {
    decompress: (compression, compressed) => {
      asked.push(compression);
      return identity(4)(compression, compressed);
    },
  });
  assert.ok(checkpoint.size > 0);
  assert.deepEqual(asked, ["zstd"]);
  const unknown = openTorch(fromBytes(file), { decompress: () => undefined });
  await assert.rejects(
    unknown,
    raises("UNSUPPORTED", /compressed by zstd.*unpack it and open the file inside/, { kind: "zstd" }),
  );
});

test("a file that unpacks to more than any honest one is refused, and not unpacked to its end", async () => {
  let made = 0;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        made += 2 ** 20;
        controller.enqueue(new Uint8Array(2 ** 20));
      },
    });
  const bomb = openTorch(fromBytes(Buffer.concat([ZSTD, plain])), { decompress: endless });
  await assert.rejects(
    bomb,
    raises("LIMIT_EXCEEDED", /unpack to over 268435456/, { limit: "MAX_INFLATE_RATIO" }),
  );
  assert.ok(made < 300 * 2 ** 20);
  const plainZeros = new Uint8Array(2 ** 20);
  let left = 300;
  const large = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        if (left-- > 0) controller.enqueue(plainZeros);
        else controller.close();
      },
    });
  const allowed = { decompress: large, allowExpansion: true };
  await assert.rejects(
    openTorch(fromBytes(Buffer.concat([ZSTD, plain])), allowed),
    raises("INVALID_ARCHIVE", /inside of the zstd data/),
  );
});

test("data that is damaged or cut off is refused", async () => {
  const file = gzipSync(plain);
  for (const length of [12, 100, file.length - 9, file.length - 1]) {
    await assert.rejects(
      openBytes(file.subarray(0, length)),
      raises("INVALID_ARCHIVE", /gzip data is damaged or cut off/),
    );
  }
  const damaged = Uint8Array.from(file);
  damaged[file.length - 6]! ^= 1;
  await assert.rejects(openBytes(damaged), raises("INVALID_ARCHIVE", /damaged/));
});

test("what is compressed but no PyTorch file says so", async () => {
  const inner = handMade({ x: { dtype: "U8", shape: [2], data: new Uint8Array(2) } });
  await assert.rejects(
    openBytes(gzipSync(inner)),
    raises("INVALID_ARCHIVE", /inside of the gzip data.*not a PyTorch file/),
  );
  await assert.rejects(
    openBytes(gzipSync(gzipSync(plain))),
    raises("INVALID_ARCHIVE", /inside of the gzip data.*compressed by gzip/),
  );
});

test("a safetensors file is not taken for anything else, whatever its length", () => {
  for (const length of [0x9c78, 0x0178, 0x88b1f, 0xfd2fb528, 0x10280, 0x71710571, 0x04034b50]) {
    const head = new Uint8Array(64);
    new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
    head.set(new TextEncoder().encode('{"x":'), 8);
    assert.equal(torchReader.recognises(head), false, String(length));
  }
});

test("the signal ends unpacking, and an error of the source stays what it is", async () => {
  const file = gzipSync(noise(3_000_000));
  const controller = new AbortController();
  const memory = fromBytes(file);
  let reads = 0;
  const aborting = {
    size: memory.size,
    read(offset: number, length: number) {
      if (++reads === 3) controller.abort(new Error("enough"));
      return memory.read(offset, length);
    },
  };
  await assert.rejects(openTorch(aborting, { signal: controller.signal }), /enough/);
  const failing = {
    size: memory.size,
    async read(offset: number, length: number) {
      if (offset > 0) throw new Error("the disk is gone");
      return memory.read(offset, length);
    },
  };
  await assert.rejects(openTorch(failing), /the disk is gone/);
});
