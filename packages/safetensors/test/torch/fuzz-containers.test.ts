import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OPCODE_NAMES } from "../../src/torch/pickle/opcodes.ts";
import { fixture } from "../fixtures.ts";
import { survives } from "./survives.ts";
import { unchecked } from "./unchecked.ts";

/** Files of every container, and how many of their mutants must still open: those with checksums open only unharmed. */
const FILES: readonly (readonly [file: string, opened: number])[] = [
  ["legacy-state-dict.pt", 5],
  ["legacy-parts.pt", 5],
  ["legacy-protocol-1.pt", 5],
  ["old-legacy.pt", 5],
  ["tar-archive.pt", 5],
  ["tar-properties.pt", 5],
  ["script-wrapper.pt", 5],
  ["rezipped-streamed.pt", 1],
  ["rezipped-zip64.pt", 1],
  ["big-endian-dtypes.pt", 5],
  ["pickle-0.pt", 5],
  ["pickle-2.pt", 5],
  ["pickle-5.pt", 5],
  ["nested-files.pt", 5],
  ["gzip.pt", 0],
  ["zlib-pickle.pt", 0],
];

for (const [file, expected] of FILES) {
  test(`changed bytes of ${file} give a checkpoint or one of our errors`, async () => {
    const whole = await unchecked(fixture(`torch/${file}`));
    const value = fc.oneof(fc.nat(255), fc.constantFrom(...OPCODE_NAMES.keys()));
    const place = fc.nat(whole.length - 1);
    const changes = fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 4 });
    let opened = 0;
    await fc.assert(
      fc.asyncProperty(changes, async (all) => {
        const damaged = Uint8Array.from(whole);
        for (const [at, byte] of all) damaged[at] = byte;
        if (await survives(damaged)) opened++;
      }),
      { seed: 42, numRuns: 150 },
    );
    assert.ok(opened >= expected, `only ${opened} were opened`);
  });
}

test("files that are cut, or have bytes cut out or put in, give a checkpoint or one of our errors", async () => {
  const edit = fc.record({
    file: fc.constantFrom(...FILES.map(([file]) => file)),
    at: fc.nat(4000),
    drop: fc.nat(40),
    put: fc.uint8Array({ maxLength: 20 }),
    cut: fc.option(fc.nat(4000)),
  });
  await fc.assert(
    fc.asyncProperty(edit, async ({ file, at, drop, put, cut }) => {
      const whole = fixture(`torch/${file}`);
      const edited = Buffer.concat([whole.subarray(0, at), put, whole.subarray(at + drop)]);
      await survives(cut === null ? edited : edited.subarray(0, cut));
    }),
    { seed: 42, numRuns: 300 },
  );
});

test("a file that is cut anywhere is refused", async () => {
  const names = [
    "rezipped-streamed",
    "big-endian-dtypes",
    "old-script",
    "pickle-0",
    "pickle-5",
    "nested-files",
    "gzip",
    "zlib-pickle",
  ];
  for (const name of names) {
    const whole = fixture(`torch/${name}.pt`);
    for (let length = 0; length < whole.length; length += Math.ceil(whole.length / 150))
      assert.equal(await survives(whole.subarray(0, length)), false, `${name}, ${length}`);
  }
});
