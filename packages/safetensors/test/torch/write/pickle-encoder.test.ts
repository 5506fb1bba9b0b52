import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { PickleEncoder } from "../../../src/torch/write/pickle-encoder.ts";

/** Python's `pickle.dumps(value, 2).hex()`. */
const INTS: readonly (readonly [value: number, pickle: string])[] = [
  [0, "80024b002e"],
  [255, "80024bff2e"],
  [256, "80024d00012e"],
  [65_535, "80024dffff2e"],
  [65_536, "80024a000001002e"],
  [2 ** 31 - 1, "80024affffff7f2e"],
  [2 ** 31, "80028a0500000080002e"],
  [2 ** 39 - 1, "80028a05ffffffff7f2e"],
  [2 ** 39, "80028a060000000080002e"],
  [2 ** 53 - 1, "80028a07ffffffffffff1f2e"],
];
const TUPLES: readonly (readonly [values: readonly number[], pickle: string])[] = [
  [[], "8002292e"],
  [[1], "80024b018571002e"],
  [[1, 2], "80024b014b028671002e"],
  [[1, 2, 3], "80024b014b024b038771002e"],
  [[1, 2, 3, 4], "8002284b014b024b034b047471002e"],
];

function pickleOf(write: (pickle: PickleEncoder) => void): string {
  const pickle = new PickleEncoder();
  pickle.protocol(2);
  write(pickle);
  return Buffer.from(pickle.finish()).toString("hex");
}

describe("PickleEncoder", () => {
  it("writes ints and tuples as Python does", () => {
    for (const [value, golden] of INTS)
      assert.equal(
        pickleOf((pickle) => pickle.int(value)),
        golden,
      );
    for (const [values, golden] of TUPLES)
      assert.equal(
        pickleOf((pickle) => pickle.ints(values)),
        golden,
      );
  });

  it("fetches shared texts and names from the memo", () => {
    // pickle.dumps((a, a, OrderedDict, OrderedDict), 2), where a is the text "a"
    const golden =
      "8002285801000000617100680063636f6c6c656374696f6e730a4f726465726564446963740a710168017471022e";
    const found = pickleOf((pickle) => {
      pickle.op("MARK");
      for (let time = 0; time < 2; time++) pickle.sharedText("a");
      for (let time = 0; time < 2; time++) pickle.global("collections OrderedDict");
      pickle.op("TUPLE");
      pickle.memoize();
    });
    assert.equal(found, golden);
  });

  it("takes longer opcodes for places in the memo from 256 on", () => {
    const found = pickleOf((pickle) => {
      for (let index = 0; index < 256; index++) pickle.text("");
      for (let time = 0; time < 2; time++) pickle.sharedText("a");
    });
    // LONG_BINPUT and LONG_BINGET of 256, after a BINPUT of 255.
    assert.ok(found.endsWith("71ff" + "580100000061" + "7200010000" + "6a00010000" + "2e"), found.slice(-60));
  });
});
