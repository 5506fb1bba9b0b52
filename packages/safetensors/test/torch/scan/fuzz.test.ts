import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OPCODE_NAMES } from "../../../src/torch/pickle/opcodes.ts";
import { fixture } from "../../fixtures.ts";
import { concat } from "../../support.ts";
import { assemble, name } from "../pickle/assembler.ts";
import { scanned } from "./scanned.ts";

const byte = fc.oneof(fc.nat(255), fc.constantFrom(...OPCODE_NAMES.keys()));
const OPTIONS = { seed: 42, numRuns: 40 };

function changed(whole: Uint8Array, changes: readonly (readonly [at: number, value: number])[]): Uint8Array {
  const bytes = new Uint8Array(whole);
  for (const [at, value] of changes) bytes[at] = value;
  return bytes;
}

for (const file of [
  "torch/state-dict.pt",
  "torch/legacy.pt",
  "torch/protocol-4.pt",
  "scan/arrays.joblib",
  "scan/arrays.npz",
  "scan/model.nemo",
  "scan/tensors-0.pkl",
]) {
  test(`${file} with changed bytes gets a verdict, and is reported in full`, async () => {
    const whole = fixture(file);
    const change = fc.tuple(fc.nat(whole.length - 1), byte);
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 5 }), async (changes) => {
        const report = await scanned(changed(whole, changes));
        assert.equal(report.findings.length, report.findingCount);
        assert.ok(
          !report.findings.some(({ code }) => code === "unreadable"),
          JSON.stringify(report.findings),
        );
        assert.equal(
          report.verdict === "clean",
          report.findings.every(({ severity }) => severity === "note"),
        );
      }),
      OPTIONS,
    );
  });

  test(`${file}, cut off, is never dangerous`, async () => {
    const whole = fixture(file);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        assert.notEqual((await scanned(whole.subarray(0, length))).verdict, "dangerous");
      }),
      OPTIONS,
    );
  });
}

test("a forbidden name is found wherever opcodes reach it", async () => {
  const opcodes = fc.constantFrom(
    "NONE",
    "EMPTY_LIST",
    "EMPTY_TUPLE",
    "MARK",
    "DUP",
    "POP",
    "APPEND",
    "TUPLE1",
    "BUILD",
    "REDUCE",
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(opcodes, { maxLength: 12 }),
      fc.array(byte, { maxLength: 12 }),
      async (before, after) => {
        const evil = assemble("PROTO", 2, ...before, name("os", "system"));
        const bytes = concat([evil, Uint8Array.from(after)]);
        assert.equal((await scanned(bytes)).verdict, "dangerous");
      },
    ),
    { seed: 42, numRuns: 250 },
  );
});

test("random bytes are never clean", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(byte, { minLength: 9, maxLength: 200 }), async (values) => {
      // Text is harmless, and some pickles are.
      const report = await scanned(Uint8Array.from([0x80, 2, ...values, 0xff]));
      assert.notEqual(report.verdict, "clean");
    }),
    { seed: 42, numRuns: 250 },
  );
});
