import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromBytes } from "../../src/source/memory.ts";
import { OPCODE_NAMES } from "../../src/torch/pickle/opcodes.ts";
import { openZip } from "../../src/zip/archive.ts";
import { fixture } from "../fixtures.ts";
import { survives } from "./survives.ts";
import { unchecked } from "./unchecked.ts";

const FILES = [
  "state-dict.pt",
  "dtypes.pt",
  "objects.pt",
  "protocol-4.pt",
  "training.pt",
  "numpy-objects.pt",
];

/** Changes at random places: to a random byte, or to an opcode. */
function changes(start: number, length: number): fc.Arbitrary<[number, number][]> {
  const value = fc.oneof(fc.nat(255), fc.constantFrom(...OPCODE_NAMES.keys()));
  return fc
    .array(fc.tuple(fc.nat(length - 1), value), { minLength: 1, maxLength: 6 })
    .map((all) => all.map(([at, byte]) => [start + at, byte]));
}

async function fuzz(file: string, start: number, length: number, numRuns: number): Promise<number> {
  const whole = await unchecked(fixture(`torch/${file}`));
  let opened = 0;
  await fc.assert(
    fc.asyncProperty(changes(start, length), async (all) => {
      const damaged = new Uint8Array(whole);
      for (const [at, byte] of all) damaged[at] = byte;
      if (await survives(damaged)) opened++;
    }),
    { seed: 42, numRuns },
  );
  return opened;
}

for (const file of FILES) {
  test(`changed bytes of ${file} give a checkpoint or one of our errors`, async () => {
    await fuzz(file, 0, fixture(`torch/${file}`).length, 300);
  });

  test(`changed bytes of the pickle in ${file} give a checkpoint or one of our errors`, async () => {
    const archive = await openZip(fromBytes(fixture(`torch/${file}`)));
    const entry = archive.find(archive.names().find((name) => name.endsWith("/data.pkl"))!)!;
    const opened = await fuzz(file, await archive.dataOffset(entry), entry.size, 700);
    assert.ok(opened > 10, `only ${opened} were opened`);
  });
}

test("a file that is cut anywhere is refused", async () => {
  const whole = fixture("torch/tied.pt");
  for (let length = 0; length < whole.length; length += 3)
    assert.equal(await survives(whole.subarray(0, length)), false);
});

test("parts of one file in another give a checkpoint or one of our errors", async () => {
  const [left, right] = [fixture("torch/views.pt"), fixture("torch/training.pt")];
  const splice = fc.record({
    from: fc.nat(right.length),
    length: fc.nat(200),
    at: fc.nat(left.length),
    drop: fc.nat(200),
  });
  await fc.assert(
    fc.asyncProperty(splice, async ({ from, length, at, drop }) => {
      const parts = [left.subarray(0, at), right.subarray(from, from + length), left.subarray(at + drop)];
      await survives(Buffer.concat(parts));
    }),
    { seed: 42, numRuns: 300 },
  );
});
