import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../src/source/memory.ts";
import type { ByteSource } from "../../src/source/source.ts";
import { openZip } from "../../src/zip/archive.ts";
import { ZipWriter } from "../../src/zip/writer.ts";
import { concat, noise, raises } from "../support.ts";

/** Takes what is written, zeros of a given piece only by their place, and gives it back as a source. */
function sparseFile(zeros: Uint8Array): { put(bytes: Uint8Array): void; source(): ByteSource } {
  const pieces: [number, Uint8Array][] = [];
  let size = 0;
  return {
    put(bytes) {
      if (bytes !== zeros) pieces.push([size, bytes.slice()]);
      size += bytes.length;
    },
    source: () => ({
      size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        for (const [at, piece] of pieces) {
          const from = Math.max(offset, at);
          const to = Math.min(offset + length, at + piece.length);
          if (from < to) bytes.set(piece.subarray(from - at, to - at), from - offset);
        }
        return bytes;
      },
    }),
  };
}

test("more members than a plain archive can have are read back", async () => {
  const parts: Uint8Array[] = [];
  const zip = new ZipWriter((bytes) => void parts.push(bytes));
  for (let i = 0; i < 65_536; i++) await zip.add(`${i}`, 0, []);
  await zip.finish();
  const archive = await openZip(fromBytes(concat(parts)));
  assert.equal(archive.size, 65_536);
  assert.equal((await archive.dataOffset(archive.find("65535")!)) % 64, 0);
});

test("a member of 4 GiB, and one behind it, are read back", async () => {
  const zeros = new Uint8Array(1 << 26);
  const file = sparseFile(zeros);
  // The checksum of 4 GiB would take seconds: this one counts, and so shows that each begins where the last ended.
  const zip = new ZipWriter(file.put, (bytes, before) => (before + bytes.length / 2 ** 26) % 2 ** 32);
  await zip.add("small", 5, [noise(5)]);
  await zip.add("large", 2 ** 32, Array<Uint8Array>(64).fill(zeros));
  await zip.add("last", 5, [noise(2), noise(3, 2)]);
  await zip.finish();
  const archive = await openZip(file.source());
  const offsets = await archive.dataOffsets();
  const large = archive.find("large")!;
  assert.deepEqual([large.size, large.crc32], [2 ** 32, 64]);
  for (const offset of offsets) assert.equal(offset % 64, 0);
  const last = archive.find("last")!;
  assert.ok(last.headerOffset > 2 ** 32);
  const bytes = await archive.source.read(offsets[last.row]!, 5);
  assert.deepEqual([...bytes], [...noise(2), ...noise(3, 2)]);
});

test("what does not fit its declared size, or has no name, is refused", async () => {
  const zip = (): ZipWriter => new ZipWriter(() => {});
  await assert.rejects(
    zip().add("a", 2, [noise(1)]),
    raises("SIZE_MISMATCH", /"a" .* 2 bytes, but only 1 came/),
  );
  await assert.rejects(zip().add("a", 2, [noise(3)]), raises("SIZE_MISMATCH", /2 bytes, but more came/));
  for (const name of ["", "a/", "..", "a/../b"])
    await assert.rejects(zip().add(name, 0, []), raises("INVALID_NAME"));
});
