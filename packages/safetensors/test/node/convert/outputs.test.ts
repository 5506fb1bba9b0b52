import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint } from "../../../src/checkpoint/checkpoint.ts";
import { encodeHeader } from "../../../src/format/encode.ts";
import { MAX_HEADER_BYTES } from "../../../src/limits.ts";
import { contentsOf } from "../../../src/node/convert/outputs.ts";
import { fromBytes } from "../../../src/source/memory.ts";
import { contiguousStrides } from "../../../src/view/view.ts";

/** A checkpoint with very long names, two for each tensor. */
function longNames(count: number, length: number): Checkpoint {
  const source = fromBytes(new Uint8Array(count));
  const stem = "n".repeat(length);
  const places = new Map<string, number>();
  for (let index = 0; index < count; index++)
    places.set(`${index}${stem}`, index).set(`${index}b${stem}`, index);
  const find = (name: string) => {
    const index = places.get(name);
    if (index === undefined) return undefined;
    return {
      source,
      dtype: "U8",
      shape: [1],
      strides: contiguousStrides([1]),
      bitOffset: index * 8,
    } as const;
  };
  const tensors = { size: 2 * count, names: () => places.keys(), find };
  return new Checkpoint({ format: "torch", tensors });
}

test("a file whose header could not be read back is split, also if one file was asked for", () => {
  const count = 40;
  const opened = new Map([["a.bin", longNames(count, 900_000)]]);
  const contents = contentsOf(opened, { maxShardSize: Number.POSITIVE_INFINITY }, new Set());
  const sizes = contents.map(
    ({ tensors, aliases }) => encodeHeader(tensors, { metadata: aliases }).bytes.length,
  );
  assert.ok(
    sizes.length > 1 && sizes.slice(0, -1).every((size) => size > 0.9 * MAX_HEADER_BYTES),
    `${sizes}`,
  );
  assert.equal(
    new Set(contents.flatMap(({ tensors, aliases }) => [...tensors.keys(), ...aliases.keys()])).size,
    2 * count,
  );
  assert.ok(
    contents.every(({ tensors, aliases }) => [...aliases.values()].every((kept) => tensors.has(kept))),
  );
});
