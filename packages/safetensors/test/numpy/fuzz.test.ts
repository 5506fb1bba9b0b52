import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { openNumpy } from "../../src/numpy/index.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { fixture } from "../fixtures.ts";

/** Opens a file and reads what is small; true if that went well. Whatever fails must be one of our errors. */
async function survives(bytes: Uint8Array): Promise<boolean> {
  try {
    const checkpoint = await openNumpy(fromBytes(bytes));
    for (const tensor of checkpoint) {
      assert.ok(Number.isSafeInteger(tensor.byteLength) && tensor.byteLength >= 0);
      // No array has more bytes than its file can hold: deflate makes at most 1032 of one.
      assert.ok(tensor.byteLength <= bytes.length * 1032);
      if (tensor.byteLength <= 4096) assert.equal((await tensor.bytes()).length, tensor.byteLength);
    }
    return true;
  } catch (error) {
    if (error instanceof SafetensorsError) return false;
    throw error;
  }
}

/** Changes from a place on: to a random byte, or to one that headers are made of. */
function changes(start: number, length: number): fc.Arbitrary<[number, number][]> {
  const value = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from("{}()[],:'\\ 0123456789L<>|bcfiuV")));
  return fc
    .array(fc.tuple(fc.nat(length - 1), value), { minLength: 1, maxLength: 4 })
    .map((all) => all.map(([at, byte]) => [start + at, byte]));
}

async function fuzz(file: string, start: number, length: number, numRuns: number): Promise<number> {
  const whole = fixture(`numpy/${file}`);
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

for (const file of ["one.npy", "version-3.npy", "big-endian-fortran.npy", "structured.npy"]) {
  test(`changed bytes in the header of ${file} give a checkpoint or one of our errors`, async () => {
    const opened = await fuzz(file, 0, 128, 2000);
    assert.ok(file === "structured.npy" || opened > 5, `only ${opened} were opened`);
  });
}

for (const file of ["unnamed.npz", "names.npz", "compressed.npz", "streamed.npz"]) {
  test(`changed bytes of ${file} give a checkpoint or one of our errors`, async () => {
    await fuzz(file, 0, fixture(`numpy/${file}`).length, 150);
  });

  test(`changed bytes in the directory of ${file} give a checkpoint or one of our errors`, async () => {
    const { length } = fixture(`numpy/${file}`);
    await fuzz(file, length - 200, 200, 300);
  });
}

test("an archive that is cut anywhere is refused", async () => {
  const whole = fixture("numpy/unnamed.npz");
  for (let length = 0; length < whole.length; length++)
    assert.equal(await survives(whole.subarray(0, length)), false);
});
