import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromBytes } from "../../src/source/memory.ts";
import type { TorchOptions } from "../../src/torch/index.ts";
import { OPCODE_NAMES } from "../../src/torch/pickle/opcodes.ts";
import { openZip } from "../../src/zip/archive.ts";
import { fixture } from "../fixtures.ts";
import { survives } from "./survives.ts";
import { unchecked } from "./unchecked.ts";

const COMPUTED: TorchOptions = {
  quantized: "dequantize",
  sparse: "densify",
  complex128: "split",
  flatten: true,
};
const PARTS: TorchOptions = { quantized: "raw", sparse: "parts", complex128: "split", flatten: true };

/** Changes at random places: to a random byte, or to an opcode. */
function changes(start: number, length: number): fc.Arbitrary<[number, number][]> {
  const value = fc.oneof(fc.nat(255), fc.constantFrom(...OPCODE_NAMES.keys()));
  return fc
    .array(fc.tuple(fc.nat(length - 1), value), { minLength: 1, maxLength: 4 })
    .map((all) => all.map(([at, byte]) => [start + at, byte]));
}

for (const file of [
  "quantized",
  "sparse",
  "complex-numbers",
  "lazy-views",
  "arrays",
  "old-tensors",
  "device-tensors",
  "whole-module",
  "subclasses",
]) {
  test(`changed bytes of ${file}.pt give a checkpoint or one of our errors`, async () => {
    const whole = await unchecked(fixture(`torch/kinds/${file}.pt`));
    const archive = await openZip(fromBytes(whole));
    const entry = archive.find(archive.names().find((name) => name.endsWith("/data.pkl"))!)!;
    const start = await archive.dataOffset(entry);
    let opened = 0;
    // The pickle comes first, the storages after it.
    await fc.assert(
      fc.asyncProperty(
        changes(start, Math.min(whole.length - start, 2 * entry.size)),
        fc.boolean(),
        async (all, parts) => {
          const damaged = new Uint8Array(whole);
          for (const [at, byte] of all) damaged[at] = byte;
          if (await survives(damaged, parts ? PARTS : COMPUTED)) opened++;
        },
      ),
      { seed: 42, numRuns: 100 },
    );
    assert.ok(opened > 3, `only ${opened} were opened`);
  });
}
