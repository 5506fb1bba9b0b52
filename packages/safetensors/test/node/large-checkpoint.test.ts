import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openPath } from "../../src/node/open-path.ts";
import { range } from "../../src/view/index-items.ts";
import { fileAround, noise, temporaryFolder } from "../support.ts";

const GiB = 2 ** 30;
const SIZE = 5 * GiB;
const HEAD = 4096;

/** Around each of these bytes of the files lies noise; all else is a hole. */
const LINES = [GiB, 2 * GiB, 3 * GiB, 4 * GiB];
const MARK = 40_000;
const markOf = (line: number): Uint8Array => noise(MARK, line / GiB);

const folder = temporaryFolder();

/** A file of 5 GiB that takes no room, with these tensors in the order of their data. */
function sparseFile(
  name: string,
  tensors: readonly (readonly [name: string, dtype: string, shape: number[]])[],
) {
  let end = 0;
  const bytesOf: Readonly<Record<string, number>> = { U8: 1, U16: 2, F64: 8 };
  const entries = tensors.map(([name, dtype, shape]) => {
    const begin = end;
    end += shape.reduce((size, length) => size * length, bytesOf[dtype]!);
    return `"${name}":${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  assert.equal(HEAD + end, SIZE);
  const path = join(folder, name);
  const fd = openSync(path, "w");
  writeSync(fd, fileAround(`{${entries.join()}}`.padEnd(HEAD - 8)));
  ftruncateSync(fd, SIZE);
  for (const line of LINES) writeSync(fd, markOf(line), 0, MARK, line - MARK / 2);
  closeSync(fd);
  return path;
}

/** Tensors that end and begin at the lines, and one across each of 2 and 4 GiB. */
const many = sparseFile("many.safetensors", [
  ["low", "U8", [2 * GiB - HEAD - 10_000]],
  ["across 2 GiB", "U16", [100, 100]],
  ["middle", "U16", [GiB - 10_000]],
  ["across 4 GiB", "F64", [2500]],
  ["high", "U8", [16, (GiB - 10_000) / 16]],
]);

/** One tensor that is all of the file. */
const one = sparseFile("one.safetensors", [["w", "U8", [SIZE - HEAD]]]);

/** What lies from byte `begin` to `end` of the files, near a line. */
const near = (line: number, begin: number, end: number): Uint8Array =>
  markOf(line).slice(begin - line + MARK / 2, end - line + MARK / 2);

for (const blocking of [false, true]) {
  describe(`a checkpoint of 5 GiB, with blocking ${blocking}`, () => {
    it("gives tensors across 2 and 4 GiB, and what begins and ends beside them", async () => {
      await using checkpoint = await openPath(many, { blocking });
      const [two, four] = [2 * GiB, 4 * GiB];
      const expected: Readonly<Record<string, Uint8Array>> = {
        "across 2 GiB": near(two, two - 10_000, two + 10_000),
        "across 4 GiB": near(four, four - 10_000, four + 10_000),
      };
      for (const [name, bytes] of Object.entries(expected)) {
        assert.deepEqual(await checkpoint.get(name).bytes(), bytes);
      }
      const seen: string[] = [];
      for await (const { name, bytes } of checkpoint.read({ names: /across/, budget: 100_000 })) {
        assert.deepEqual(bytes, expected[name]);
        seen.push(name);
      }
      assert.deepEqual(seen, Object.keys(expected));

      const partOf = (name: string, start: number, end?: number): Promise<Uint8Array> =>
        checkpoint.get(name).slice(range(start, end)).bytes();
      assert.deepEqual(await partOf("low", -10_000), near(two, two - 20_000, two - 10_000));
      assert.deepEqual(await partOf("middle", 0, 5000), near(two, two + 10_000, two + 20_000));
      assert.deepEqual(await partOf("middle", -5000), near(four, four - 20_000, four - 10_000));
      const columns = await checkpoint.get("across 2 GiB").slice(null, range(0, 2)).bytes();
      assert.deepEqual(
        columns,
        expected["across 2 GiB"]!.filter((_, at) => at % 200 < 4),
      );
      const [first] = await checkpoint.get("high").slice(0, range(0, 10_000)).bytes();
      assert.equal(first, near(four, four + 10_000, four + 10_001)[0]);
    });

    it("gives parts of one tensor across 2 and 4 GiB", async () => {
      await using checkpoint: Checkpoint = await openPath(one, { blocking });
      const w = checkpoint.get("w");
      for (const line of LINES) {
        const [begin, end] = [line - 15_001, line + 15_002];
        const part = w.slice(range(begin - HEAD, end - HEAD));
        assert.deepEqual(await part.bytes(), near(line, begin, end));
        assert.deepEqual(
          await part.slice(range(null, null, -3)).bytes(),
          everyThirdFromTheEnd(near(line, begin, end)),
        );
        const chunks: Uint8Array[] = [];
        for await (const chunk of part.chunks(new Uint8Array(7000))) chunks.push(chunk.slice());
        assert.deepEqual(Buffer.concat(chunks), Buffer.from(near(line, begin, end)));
      }
      // One byte before and behind every line at once.
      const picked = LINES.flatMap((line) => [line - 1, line]);
      assert.deepEqual(
        await w.slice(picked.map((at) => at - HEAD)).bytes(),
        Uint8Array.from(picked, (at, i) => near(LINES[i >> 1]!, at, at + 1)[0]!),
      );
      // A part of 24 MiB, in several reads.
      const half = 12 * 2 ** 20;
      for (const line of [2 * GiB, 4 * GiB]) {
        const slices = new Map([["w", [range(line - HEAD - half, line - HEAD + half)]]]);
        const expected = new Uint8Array(2 * half);
        expected.set(markOf(line), half - MARK / 2);
        for await (const { bytes } of checkpoint.read({ slices }))
          assert.ok(Buffer.compare(bytes, expected) === 0);
      }
    });
  });
}

function everyThirdFromTheEnd(bytes: Uint8Array): Uint8Array {
  return bytes
    .slice()
    .reverse()
    .filter((_, i) => i % 3 === 0);
}
