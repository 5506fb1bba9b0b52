import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePiece } from "../../src/quant/dense-source.ts";
import {
  checkCase,
  checkCuts,
  checkDamaged,
  configOf,
  foundIn,
  openCase,
  piecesOf,
  storedIn,
} from "./others.ts";

describe("HQQ", () => {
  it("gives the values of all bits along both axes", async () => {
    const { quantization } = await checkCase("hqq-float32");
    const weight = quantization.weights.get("layers.3.axis_1.weight")!;
    assert.deepEqual([weight.bits, weight.group, weight.shape, weight.dense], [3, [32], [24, 64], "F32"]);
    assert.ok(weight.besides!.includes("layers.3.axis_1.packing"));
  });

  it("is cut by rows if a byte is one code, and else is whole", async () => {
    const found = await openCase("hqq-float32");
    await checkCuts(found);
    const name = "layers.8.axis_1.weight";
    const weight = found.quantization.weights.get(name)!;
    const cut = [{ axis: 0, ranges: [{ start: 5, stop: 9 }] }];
    const piece = await foundIn(await piecesOf(found, weight, cut));
    assert.deepEqual(piece.quantization.problems, []);
    assert.deepEqual(
      await decodePiece(piece.quantization.weights.get(name)!, (one) => piece.checkpoint.get(one), []),
      await decodePiece(weight, (one) => found.checkpoint.get(one), cut),
    );
  });

  it("is a problem if the settings do not fit the codes", async () => {
    const stored = await storedIn("hqq-float32");
    for (const [last, expected] of [
      ["packing", /no packing/],
      ["shape", /no shape/],
      ["axis", /no axis/],
      ["group_size", /no group_size/],
      ["scale", /scale and zero are missing/],
    ] as const) {
      const changed = { ...stored };
      delete changed[`layers.4.axis_0.${last}`];
      const { quantization } = await foundIn(changed, configOf("hqq-float32"));
      assert.equal(quantization.weights.has("layers.4.axis_0.weight"), false);
      assert.match(quantization.problems[0]!.text, expected);
    }
    await checkDamaged("hqq-float32");
  });
});
