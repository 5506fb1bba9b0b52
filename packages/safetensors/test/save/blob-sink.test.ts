import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { open } from "../../src/checkpoint/open.ts";
import { blobSink } from "../../src/save/blob-sink.ts";
import { save } from "../../src/save/save.ts";
import { concat, noise } from "../support.ts";

const bytesOf = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());

describe("blobSink", () => {
  it("makes a Blob with the file", async () => {
    const sink = blobSink();
    const data = noise(9 << 20);
    await save(sink, { w: { dtype: "U8", shape: [data.length], data } });
    const blob = sink.blob();
    assert.equal(blob.type, "application/octet-stream");
    const found = await (await open(blob)).get("w").bytes();
    assert.equal(Buffer.compare(found, data), 0);
  });

  it("puts pieces of any sizes together, and takes copies", async () => {
    const size = fc.oneof(fc.nat(100), fc.constantFrom((4 << 20) - 50, 4 << 20, (8 << 20) + 1));
    const property = fc.asyncProperty(fc.array(size, { maxLength: 5 }), async (sizes) => {
      const sink = blobSink({ type: "text/plain" });
      for (const [i, size] of sizes.entries()) {
        const piece = noise(size, i);
        sink.write(piece);
        piece.fill(9);
      }
      await sink.commit();
      const expected = concat(sizes.map((size, i) => noise(size, i)));
      assert.equal(Buffer.compare(await bytesOf(sink.blob()), expected), 0);
      assert.equal(sink.blob().type, "text/plain");
    });
    await fc.assert(property, { seed: 54, numRuns: 8 });
  });

  it("gives nothing before the commit, and after an abort", async () => {
    const sink = blobSink();
    sink.write(noise(1));
    assert.throws(() => sink.blob(), /not been committed/);
    await sink.abort();
    assert.throws(() => sink.blob(), /not been committed/);
  });
});
