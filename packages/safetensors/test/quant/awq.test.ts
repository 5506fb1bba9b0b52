import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { grainOf } from "../../src/quant/cut-parts.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { noise, raises } from "../support.ts";
import {
  checkpointOfPiece,
  cutOf,
  f32,
  fixtureFound,
  found,
  foundIn,
  sha256,
  valuesOf,
} from "./gptq-layers.ts";

const FIXTURES = [
  "gemm",
  ...["gemv", "gemv_fast"].flatMap((kind) => [32, 64, 128].map((g) => `${kind}-${g}`)),
];
const CONFIG = { quant_method: "awq", bits: 4, group_size: 32, version: "gemm", zero_point: true };

const words = (...shape: number[]): { dtype: string; shape: number[]; data: Uint8Array } => ({
  dtype: "I32",
  shape,
  data: noise(shape.reduce((product, size) => product * size, 4)),
});
const scales = (...shape: [number, number]): ReturnType<typeof f32> =>
  f32(
    shape,
    Array.from({ length: shape[0] * shape[1] }, (_, i) => i + 1),
  );
const gemm = { "a.qweight": words(64, 2), "a.qzeros": words(2, 2), "a.scales": scales(2, 16) };

describe("weights of AWQ", () => {
  for (const name of FIXTURES) {
    it(`are what the originals decode: ${name}`, async () => {
      const { found, dense } = await fixtureFound(`awq/${name}`);
      assert.deepEqual(found.problems, []);
      const checkpoint = dequantized(found.checkpoint, found);
      assert.deepEqual(new Set(checkpoint.keys()), new Set(dense.keys()));
      for (const tensor of checkpoint)
        assert.equal(sha256(await tensor.bytes()), dense.get(tensor.name), tensor.name);
    });
  }

  it("are cut with their parts, which are a weight again", async () => {
    const large = [32, 64, 128].flatMap((group) => {
      const width = { 32: 32, 64: 32, 128: 16 }[group]!;
      const columns = group === 128 ? 9 * group : group === 64 ? 17 * group : 32 * group;
      const config = { ...CONFIG, group_size: group };
      return [
        {
          config: { ...config, version: "gemv" },
          tensors: {
            "a.qweight": words(8, columns / 8),
            "a.qzeros": words(8, width / 8),
            "a.scales": scales(8, width),
          },
        },
        {
          config: { ...config, version: "gemv_fast" },
          tensors: {
            "a.qweight": { dtype: "I16", shape: [2, columns], data: noise(columns * 4) },
            "a.scaled_zeros": scales(width, 8),
            "a.scales": scales(width, 8),
          },
        },
      ];
    });
    for (const { config, tensors } of [{ config: CONFIG, tensors: gemm }, ...large]) {
      const all = await found(tensors, config);
      assert.deepEqual(all.problems, []);
      const weight = all.weights.get("a.weight")!;
      const [rows, columns] = weight.shape as [number, number];
      const [byRow, byColumn] = grainOf(weight) as [number, number];
      const whole = await valuesOf(all.checkpoint, weight);
      const property = fc.asyncProperty(span(rows, byRow), span(columns, byColumn), async (n, k) => {
        const cut = [
          { axis: 0, ranges: [{ start: n[0], stop: n[1] }] },
          { axis: 1, ranges: [{ start: k[0], stop: k[1] }] },
        ];
        const expected = cutOf(whole, columns, n, k);
        assert.deepEqual([...(await valuesOf(all.checkpoint, weight, cut))], expected);
        const piece = await foundIn(checkpointOfPiece(all.checkpoint, weight, cut), config);
        const again = piece.weights.get("a.weight")!;
        assert.deepEqual([...(await valuesOf(piece.checkpoint, again))], expected);
      });
      await fc.assert(property, { seed: 42, numRuns: 3 });
      const cut = [{ axis: 1, ranges: [{ start: 0, stop: byColumn / 2 }] }];
      await assert.rejects(
        valuesOf(all.checkpoint, weight, cut),
        raises("INVALID_SLICE", /"a\.\w+" of shape/),
      );
    }
  });

  it("are cut to nothing, and may have one group", async () => {
    const tensors = { ...gemm, "a.qzeros": words(1, 2), "a.scales": scales(1, 16) };
    const { weights, checkpoint } = await found(tensors, { ...CONFIG, group_size: -1 });
    const weight = weights.get("a.weight")!;
    const whole = await valuesOf(checkpoint, weight);
    for (const [start, stop] of [
      [8, 40],
      [64, 64],
    ] as const) {
      const piece = await valuesOf(checkpoint, weight, [{ axis: 1, ranges: [{ start, stop }] }]);
      assert.deepEqual([...piece], cutOf(whole, 64, [0, 16], [start, stop]));
    }
  });

  it("have the middle of the codes as zero, where it is said that there are no zeros", async () => {
    const { "a.qzeros": _, ...tensors } = gemm;
    const zeros = { dtype: "I32", shape: [2, 2], data: new Uint8Array(16).fill(0x88) };
    const [without, all] = await Promise.all([
      found(tensors, { ...CONFIG, zero_point: false }),
      found({ ...tensors, "a.qzeros": zeros }, CONFIG),
    ]);
    const expected = await valuesOf(all.checkpoint, all.weights.get("a.weight")!);
    assert.deepEqual(await valuesOf(without.checkpoint, without.weights.get("a.weight")!), expected);
    const { problems, weights } = await found(tensors, CONFIG);
    assert.match(problems[0]!.text, /qzeros are missing/);
    assert.equal(weights.size, 0);
  });

  it("are told from GPTQ by their shapes, where there is no configuration", async () => {
    const { weights, problems } = await found(gemm);
    assert.deepEqual(problems, []);
    assert.equal(weights.get("a.weight")!.scheme, "awq");
    assert.deepEqual(weights.get("a.weight")!.group, [32]);
  });
});

describe("what does not fit in a checkpoint of AWQ", () => {
  const problemOf = async (
    config: Readonly<Record<string, unknown>>,
    tensors: Parameters<typeof found>[0] = gemm,
  ): Promise<string> => {
    const { problems, weights } = await found(tensors, { ...CONFIG, ...config });
    assert.equal(weights.size, 0);
    return problems.map(({ name, text }) => `${name}: ${text}`).join("\n");
  };

  it("is a problem of the layer, which is left as it is", async () => {
    assert.match(await problemOf({ bits: 8 }), /^a: .*says 8 bits, but the layout is one of 4$/);
    assert.match(
      await problemOf({ group_size: 64 }),
      /says groups of 64, but there are 2 of them for 64 inputs/,
    );
    assert.match(await problemOf({ version: "gemv" }), /AWQ \(gemv\), but the shapes are those of awq gemm/);
    assert.match(
      await problemOf({ quant_method: "gptq", version: null }),
      /says GPTQ, but the shapes are those of awq gemm/,
    );
    const zeros = { ...gemm, "a.qzeros": words(1, 2) };
    assert.match(await problemOf({}, zeros), /expected I32 \[2,2\], as scales are \[2,16\]/);
    const scale = { ...gemm, "a.scales": { ...gemm["a.scales"], dtype: "I32" } };
    assert.match(await problemOf({}, scale), /scales are I32/);
    const gemv = { "a.qweight": words(8, 16), "a.qzeros": words(8, 2), "a.scales": scales(8, 16) };
    assert.match(await problemOf({ version: "gemv" }, gemv), /are 32 with padding, but there are 16/);
    assert.match(await problemOf({ version: "gemv", group_size: 48 }, gemv), /expected 32, 64, or 128/);
  });

  it("is refused by name in the layout of Marlin", async () => {
    const { unsupported } = await found(gemm, { ...CONFIG, version: "Marlin" });
    assert.match(unsupported[0]!.why, /the layout "marlin" is not read: codes and scales are permuted/);
    assert.deepEqual(unsupported[0]!.names, ["a.qweight", "a.qzeros", "a.scales"]);
  });
});

/** A part of an axis, on its grain. */
function span(size: number, grain: number): fc.Arbitrary<readonly [number, number]> {
  const place = fc.nat({ max: Math.ceil(size / grain) }).map((i) => Math.min(size, i * grain));
  return fc
    .tuple(place, place)
    .filter(([a, b]) => a !== b)
    .map(([a, b]) => (a < b ? [a, b] : [b, a]));
}
