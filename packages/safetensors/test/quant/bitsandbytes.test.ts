import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodePiece } from "../../src/quant/dense-source.ts";
import { raises } from "../support.ts";
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

const LAYER = "model.layers.0.";
const STATE = "quant_state.bitsandbytes__nf4";

describe("bitsandbytes", () => {
  it("gives the values of its 4-bit types, nested scales, odd sizes, and any storage dtype", async () => {
    const { quantization } = await checkCase("bitsandbytes-4bit");
    const of = (name: string) => quantization.weights.get(`${LAYER}${name}.weight`)!;
    assert.deepEqual(of("gate_proj").notes, ["nf4", "double quantised"]);
    assert.deepEqual([of("k_proj").shape, of("k_proj").group, of("k_proj").dense], [[9, 17], [64], "F32"]);
    assert.equal(of("down_proj").parts[0]!.dtype, "BF16");
  });

  it("gives the values of LLM.int8 but for the rounding of float32", async () => {
    await checkCuts(await checkCase("bitsandbytes-int8"));
  });

  it("is cut where rows and blocks end together", async () => {
    const found = await openCase("bitsandbytes-4bit");
    await checkCuts(found, 20);
    const weight = found.quantization.weights.get(`${LAYER}gate_proj.weight`)!;
    const part = (name: string) => found.checkpoint.get(name);
    // Rows of 96 elements, blocks of 64, nested blocks of 256 of these: all 512 rows, or none.
    const cut = [{ axis: 0, ranges: [{ start: 0, stop: 2 }] }];
    await assert.rejects(decodePiece(weight, part, cut), raises("INVALID_SLICE", /multiples of 512/));
  });

  it("states the shape of a piece anew, which is then a checkpoint as others are", async () => {
    const found = await openCase("bitsandbytes-4bit");
    const name = `${LAYER}up_proj.weight`;
    const weight = found.quantization.weights.get(name)!;
    const cut = [{ axis: 0, ranges: [{ start: 3, stop: 11 }] }];
    const piece = await foundIn(await piecesOf(found, weight, cut));
    assert.deepEqual(piece.quantization.problems, []);
    assert.deepEqual(piece.quantization.weights.get(name)!.shape, [8, 64]);
    assert.deepEqual(
      await decodePiece(piece.quantization.weights.get(name)!, (one) => piece.checkpoint.get(one), []),
      await decodePiece(weight, (one) => found.checkpoint.get(one), cut),
    );
  });

  it("is whole if it is no matrix", async () => {
    const stored = await storedIn("bitsandbytes-4bit");
    const name = `${LAYER}up_proj.weight`;
    const state = stored[`${name}.${STATE}`]!;
    const text = new TextDecoder().decode(state.data).replace("[24, 64]", "[2,3,256]");
    const data = new TextEncoder().encode(text);
    stored[`${name}.${STATE}`] = { ...state, shape: [data.length], data };
    const found = await foundIn(stored, configOf("bitsandbytes-4bit"));
    assert.deepEqual(found.quantization.weights.get(name)!.shape, [2, 3, 256]);
    await checkCuts(found, 4);
  });

  it("takes nothing on trust that stands in JSON", async () => {
    const stored = await storedIn("bitsandbytes-4bit");
    const name = `${LAYER}up_proj.weight.${STATE}`;
    const honest = JSON.parse(new TextDecoder().decode(stored[name]!.data)) as object;
    const text = JSON.stringify(honest);
    for (const [json, expected] of [
      ["{", /no JSON that can be used/],
      ["[1]", /no object/],
      [text.replace("{", '{"blocksize":64,'), /no key twice/],
      [JSON.stringify({ ...honest, blocksize: 7 }), /blocksize/],
      [JSON.stringify({ ...honest, blocksize: "64" }), /blocksize/],
      [JSON.stringify({ ...honest, quant_type: "fp4" }), /quant_type/],
      [JSON.stringify({ ...honest, dtype: "complex64" }), /dtype/],
      [JSON.stringify({ ...honest, shape: [2 ** 52, 2 ** 52] }), /shape/],
      [JSON.stringify({ ...honest, shape: [-24, -64] }), /shape/],
      [JSON.stringify({ ...honest, shape: [48, 64] }), /1536 bytes/],
      [JSON.stringify({ ...honest, shape: null }), /shape/],
      [JSON.stringify({ ...honest, nested_blocksize: 256 }), /offset/],
      [text.replace(/"shape":/, '"shap":').replace("{", '{"__proto__":{"shape":[24,64]},'), /shape/],
    ] as const) {
      const data = new TextEncoder().encode(json);
      const changed = { ...stored, [name]: { dtype: "U8", shape: [data.length], data } };
      const { quantization } = await foundIn(changed, configOf("bitsandbytes-4bit"));
      assert.equal(quantization.weights.has(`${LAYER}up_proj.weight`), false, json);
      assert.match(quantization.problems[0]!.text, expected, json);
    }
    await checkDamaged("bitsandbytes-4bit");
    await checkDamaged("bitsandbytes-int8");
  });

  it("refuses rows that are tiled for a GPU", async () => {
    const stored = await storedIn("bitsandbytes-int8");
    stored["q_proj.weight_format"] = { dtype: "U8", shape: [], data: Uint8Array.of(2) };
    const { quantization } = await foundIn(stored);
    assert.deepEqual(quantization.unsupported[0]!.names, [
      "q_proj.weight",
      "q_proj.SCB",
      "q_proj.weight_format",
    ]);
    assert.equal(quantization.weights.size, 1);
  });
});
