import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import { scaleGrid } from "../../src/quant/schemes/scale-grid.ts";
import { raises } from "../support.ts";
import { any, assertDense, assertHostile, assertPieces, casesOf, foundAmong, shown } from "./fp8-cases.ts";
import { valuesOf } from "./gptq-layers.ts";

const cases = await casesOf("fp8");
const config = (more: object = {}) => ({
  "config.json": { quantization_config: { quant_method: "fp8", ...more } },
});

describe("weights of F8", () => {
  for (const one of cases) it(`are what the originals make of them: ${one.title}`, () => assertDense(one));

  it("are cut with their scales, which are a weight again", async () => {
    for (const one of cases) await assertPieces(one, 3);
  });

  it("are not cut within blocks", async () => {
    const tensors = { "l.weight": any("F8_E4M3", 256, 256), "l.weight_scale_inv": any("F32", 2, 2) };
    const found = await foundAmong(tensors);
    const weight = found.weights.get("l.weight")!;
    assert.deepEqual(weight.group, [128, 128]);
    const cut = [{ axis: 0, ranges: [{ start: 64, stop: 128 }] }];
    const names = { tensor: "l.weight_scale_inv" };
    await assert.rejects(
      valuesOf(found.checkpoint, weight, cut),
      raises("INVALID_SLICE", /multiples of 128/, names),
    );
  });

  it("take scales of inputs and caches with them", async () => {
    const found = await foundAmong({
      "a.k_scale": any("F32", 1),
      "a.q.weight": any("F8_E4M3", 4, 4),
      "a.q.weight_scale": any("F32"),
      "a.q.input_scale": any("F32"),
    });
    assert.deepEqual([...found.extras], ["a.k_scale"]);
    assert.deepEqual(found.weights.get("a.q.weight")!.besides, ["a.q.input_scale"]);
    assert.equal(shown(found), "");
  });

  it("stay as they are without scales, which is said if the configuration lets expect them", async () => {
    const tensors = { "l.weight": any("F8_E4M3", 4, 4), "m.weight": any("BF16", 4, 4) };
    assert.equal(shown(await foundAmong(tensors)), "");
    assert.match(
      shown(await foundAmong(tensors, config())),
      /^l\.weight is F8_E4M3, and no scale of it is known/,
    );
    const left = { ...tensors, "m.weight_scale_inv": any("F32", 1, 1) };
    assert.match(shown(await foundAmong(left, config())), /m\.weight_scale_inv belongs to a weight of BF16/);
  });

  it("have blocks of another size only if the shapes say so", async () => {
    const tensors = (rows: number, ...scale: number[]) => ({
      "l.weight": any("F8_E4M3", rows, 64),
      "l.weight_scale_inv": any("F32", ...scale),
    });
    const groupOf = async (rows: number, ...scale: number[]) =>
      (await foundAmong(tensors(rows, ...scale))).weights.get("l.weight")?.group;
    assert.deepEqual(await groupOf(130, 2, 1), [128, 128]);
    assert.deepEqual(await groupOf(64, 4, 2), [16, 32]);
    assert.deepEqual(await groupOf(96, 2, 2), undefined);
    const wrong = await foundAmong(tensors(64, 4, 2), config({ weight_block_size: [128, 128] }));
    assert.match(
      shown(wrong),
      /"l\.weight_scale_inv" of shape \[4,2\] do not fit .*or \[1,1\] for blocks of 128 by 128/,
    );
    const odd = await foundAmong(tensors(64, 4, 2), config({ weight_block_size: [0, "x"] }));
    assert.match(shown(odd), /weight_block_size is no pair of positive integers/);
  });

  it("are not guessed where scales may be of rows or of columns", async () => {
    const experts = (...scale: number[]) => ({
      "e.down_proj": any("F8_E4M3", 2, 6, 6),
      "e.down_proj_scale": any("F32", ...scale),
    });
    assert.match(shown(await foundAmong(experts(2, 6, 1))), /of the rows or of the columns/);
    assert.deepEqual((await foundAmong(experts(2, 1, 6))).weights.get("e.down_proj")?.group, [6, 1]);
    assert.deepEqual((await foundAmong(experts(2))).weights.get("e.down_proj")?.group, [6, 6]);
  });

  it("are nothing but problems whatever the headers say", async () => {
    for (const one of cases) await assertHostile(one, 3);
  });
});

test("scales of a matrix are of its rows, even if there are as many as it has columns", () => {
  assert.equal(typeof scaleGrid([40, 6], [6, 1], { mayFollowColumns: true }), "string");
  assert.deepEqual(scaleGrid([6, 40], [6, 1], { mayFollowColumns: true }), scaleGrid([6, 40], [6, 1]));
});
