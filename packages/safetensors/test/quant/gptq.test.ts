import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { grainOf } from "../../src/quant/cut-parts.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { raises } from "../support.ts";
import {
  checkpointOfPiece,
  cutOf,
  fixtureFound,
  found,
  foundIn,
  gptqLayer,
  sha256,
  valuesOf,
} from "./gptq-layers.ts";

const GPTQ_CONFIG = { quant_method: "gptq", bits: 4, group_size: 32, desc_act: false };
const trivial = (columns: number, group: number): number[] =>
  Array.from({ length: columns }, (_, k) => Math.floor(k / group));

describe("weights of GPTQ", () => {
  for (const name of ["gptq", "gptq_v2", "act-order"]) {
    it(`are what AutoRound decodes: ${name}`, async () => {
      const { found, dense } = await fixtureFound(`gptq/${name}`);
      const checkpoint = dequantized(found.checkpoint, found);
      assert.deepEqual(new Set(checkpoint.keys()), new Set(dense.keys()));
      for (const tensor of checkpoint) {
        assert.equal(tensor.dtype, "F16");
        assert.equal(sha256(await tensor.bytes()), dense.get(tensor.name), tensor.name);
      }
    });
  }

  it("are cut with their parts, which are a weight again, wherever words and groups allow it", async () => {
    for (const name of ["gptq", "gptq_v2", "act-order"]) {
      const { found, config } = await fixtureFound(`gptq/${name}`);
      for (const weight of found.weights.values()) {
        const [rows, columns] = weight.shape as [number, number];
        const whole = await valuesOf(found.checkpoint, weight);
        const [byRow, byColumn] = grainOf(weight) as [number, number];
        const property = fc.asyncProperty(span(rows, byRow), span(columns, byColumn), async (n, k) => {
          const cut = [
            { axis: 0, ranges: [{ start: n[0], stop: n[1] }] },
            { axis: 1, ranges: [{ start: k[0], stop: k[1] }] },
          ];
          const expected = cutOf(whole, columns, n, k);
          assert.deepEqual([...(await valuesOf(found.checkpoint, weight, cut))], expected);
          const piece = await foundIn(checkpointOfPiece(found.checkpoint, weight, cut), config);
          const again = piece.weights.get(weight.name)!;
          assert.deepEqual([...(await valuesOf(piece.checkpoint, again))], expected);
        });
        await fc.assert(property, { seed: 42, numRuns: 1 });
      }
    }
  });

  it("are not cut within words and groups", async () => {
    const { found } = await fixtureFound("gptq/gptq");
    const weight = found.weights.get("layers.3.none.weight")!;
    const cut = (axis: number, stop: number): Promise<Float32Array> =>
      valuesOf(found.checkpoint, weight, [{ axis, ranges: [{ start: 0, stop }] }]);
    const message = /"layers.3.none.qweight" of shape \[9,32\] has 3 for every 32/;
    await assert.rejects(cut(1, 16), raises("INVALID_SLICE", message, { tensor: "layers.3.none.qweight" }));
    await assert.rejects(cut(0, 8), raises("INVALID_SLICE", /qzeros" of shape \[3,3\] has 3 for every 32/));
  });

  it("keep their numbers of groups in a piece, or get those of the piece", async () => {
    const index = trivial(64, 32);
    const tensors = gptqLayer("a", { index });
    const cut = [{ axis: 1, ranges: [{ start: 32, stop: 64 }] }];
    for (const [actOrder, expected] of [
      [true, 1],
      [false, 0],
    ] as const) {
      const all = await found(tensors, { ...GPTQ_CONFIG, desc_act: actOrder });
      const piece = checkpointOfPiece(all.checkpoint, all.weights.get("a.weight")!, cut);
      const bytes = new Uint8Array(await piece.get("a.g_idx").bytes());
      assert.deepEqual(new Int32Array(bytes.buffer), new Int32Array(32).fill(expected));
      assert.deepEqual(piece.get("a.scales").shape, [actOrder ? 2 : 1, 64]);
    }
  });

  it("may be cut to nothing", async () => {
    for (const group of [32, -1]) {
      const { weights, checkpoint } = await found(
        gptqLayer("a", { group: group < 0 ? 64 : group, zero: () => 7 }),
        {
          ...GPTQ_CONFIG,
          group_size: group,
        },
      );
      for (const axis of [0, 1]) {
        const cut = [{ axis, ranges: [{ start: 64, stop: 64 }] }];
        assert.equal((await valuesOf(checkpoint, weights.get("a.weight")!, cut)).length, 0);
      }
    }
  });

  it("may have a last group that is short, and words that are not full", async () => {
    const { weights, problems, checkpoint } = await found(
      gptqLayer("a", { rows: 10, columns: 84, index: trivial(84, 32), zero: (n) => n }),
      GPTQ_CONFIG,
    );
    assert.deepEqual(problems, []);
    const weight = weights.get("a.weight")!;
    assert.deepEqual(weight.shape, [10, 84]);
    const whole = await valuesOf(checkpoint, weight);
    const cut = [{ axis: 1, ranges: [{ start: 64, stop: 84 }] }];
    assert.deepEqual([...(await valuesOf(checkpoint, weight, cut))], cutOf(whole, 84, [0, 10], [64, 84]));
  });
});

describe("what does not fit in a checkpoint of GPTQ", () => {
  /** Problems of a layer, of which something is taken away or put in place. */
  async function problemsOf(
    config: Readonly<Record<string, unknown>> | undefined,
    tensors = gptqLayer("a"),
    added = 0,
  ): Promise<string> {
    const { problems, weights } = await found(tensors, config);
    assert.equal(weights.size, added);
    assert.ok(problems.every(({ name }) => name === "a"));
    return problems.map(({ text }) => text).join("\n");
  }
  const without = (role: string): ReturnType<typeof gptqLayer> => {
    const { [`a.${role}`]: _, ...rest } = gptqLayer("a");
    return rest;
  };

  it("is a problem of the layer, which is left as it is", async () => {
    const says = { ...GPTQ_CONFIG, checkpoint_format: "gptq_v2" };
    assert.match(await problemsOf(says, without("qzeros")), /qzeros are missing/);
    assert.match(await problemsOf(says, without("scales")), /says GPTQ, but the shapes are of no layout/);
    assert.match(await problemsOf({ ...says, desc_act: true }), /says desc_act, but there is no g_idx/);
    assert.match(
      await problemsOf({ ...says, bits: 8 }),
      /says 8 bits, but the shapes do not fit: qweight \[8,64\], qzeros \[2,8\]; they fit 4 bits/,
    );
    assert.match(
      await problemsOf({ ...says, group_size: 64 }),
      /groups of 64, which are 1 for 64 inputs, but scales have the shape \[2,64\]/,
    );
    const zeros = { ...gptqLayer("a"), "a.qzeros": gptqLayer("a", { columns: 96 })["a.qzeros"]! };
    assert.match(
      await problemsOf(says, zeros),
      /qzeros have the shape \[3,8\], expected one row for each of 2/,
    );
    assert.match(
      await problemsOf({ quant_method: "awq", bits: 4 }),
      /says AWQ, but the shapes are those of gptq: qweight I32 \[8,64\]/,
    );
    assert.match(await problemsOf(undefined), /no configuration says whether zeros are stored less one/);
  });

  it("is believed as it looks, if it is called what it is not", async () => {
    const config = { ...GPTQ_CONFIG, sym: true };
    for (const [zero, format, as] of [
      [8, undefined, "gptq_v2"],
      [8, "gptq", "gptq_v2"],
      [7, "gptq_v2", "gptq"],
    ] as const) {
      const tensors = gptqLayer("a", { zero: () => zero });
      const text = await problemsOf({ ...config, ...(format && { checkpoint_format: format }) }, tensors, 1);
      assert.match(
        text,
        new RegExp(`but all zeros are stored as ${zero}, which is ${as}: it is read as ${as}`),
      );
      const { weights, checkpoint } = await found(tensors, config);
      const right = await found(tensors, { ...config, checkpoint_format: as });
      const name = "a.weight";
      assert.deepEqual(right.problems, []);
      const expected = await valuesOf(right.checkpoint, right.weights.get(name)!);
      assert.deepEqual(await valuesOf(checkpoint, weights.get(name)!), expected);
    }
  });

  it("is looked at layer by layer, if layers differ", async () => {
    const tensors = {
      ...gptqLayer("a", { zero: () => 7 }),
      ...gptqLayer("b", { zero: () => 8 }),
    };
    const { problems, weights } = await found(tensors, GPTQ_CONFIG);
    assert.match(problems[0]!.text, /stored less one here, and as they are in "b"/);
    assert.deepEqual(weights.get("a.weight")!.notes, ["zeros less one"]);
    assert.deepEqual(weights.get("b.weight")!.notes, ["zeros as they are"]);
  });

  it("are zeros that wrap, and words that are lost", async () => {
    const wraps = gptqLayer("a", { zero: (n) => (n === 3 ? 15 : 5) });
    assert.match(await problemsOf(GPTQ_CONFIG, wraps, 1), /stored as 15, which is 0 here/);
    const [less, same] = [
      await found(wraps, GPTQ_CONFIG),
      await found(gptqLayer("a", { zero: (n) => (n === 3 ? 0 : 6) }), {
        ...GPTQ_CONFIG,
        checkpoint_format: "gptq_v2",
      }),
    ];
    const expected = await valuesOf(same.checkpoint, same.weights.get("a.weight")!);
    assert.deepEqual(await valuesOf(less.checkpoint, less.weights.get("a.weight")!), expected);
    const lost = gptqLayer("a", { zero: (n) => (n < 8 ? 15 : 5) });
    assert.match(await problemsOf(GPTQ_CONFIG, lost, 1), /0xFFFFFFFF/);
    assert.equal(await problemsOf({ ...GPTQ_CONFIG, checkpoint_format: "gptq_v2" }, lost, 1), "");
  });

  it("is an order that is not said, which is followed, and a group that is not there", async () => {
    const index = trivial(64, 32).reverse();
    const text = await problemsOf(GPTQ_CONFIG, gptqLayer("a", { index, zero: () => 7 }), 1);
    assert.match(text, /says no desc_act, but g_idx is not k \/\/ 32: all layers are read by g_idx/);
    const tensors = gptqLayer("a", { index: index.with(5, 2), zero: () => 7 });
    const { weights, checkpoint } = await found(tensors, { ...GPTQ_CONFIG, desc_act: true });
    await assert.rejects(
      valuesOf(checkpoint, weights.get("a.weight")!),
      raises("INVALID_TENSOR", /group 2 for input 5, there are 2 groups/, { tensor: "a.weight" }),
    );
  });

  it("is told apart by its shapes where there is no configuration", async () => {
    const options = { columns: 192, group: 128, zero: () => 7, index: trivial(192, 128) };
    const { weights, problems } = await found(gptqLayer("a", options));
    const { bits, group, shape } = weights.get("a.weight")!;
    assert.deepEqual([bits, group, shape], [4, [128], [64, 192]]);
    assert.deepEqual(problems, []);
  });

  it("is refused by name in layouts of other programs", async () => {
    for (const config of [
      { ...GPTQ_CONFIG, checkpoint_format: "marlin" },
      { ...GPTQ_CONFIG, is_marlin_format: true },
      { ...GPTQ_CONFIG, checkpoint_format: "bitblas" },
      { ...GPTQ_CONFIG, quant_method: "qqq" },
      { ...GPTQ_CONFIG, checkpoint_format: "marlin_24" },
      { ...GPTQ_CONFIG, checkpoint_format: "something" },
    ]) {
      const { unsupported, weights, problems } = await found(gptqLayer("a"), config);
      assert.deepEqual([weights.size, problems.length], [0, 0]);
      assert.deepEqual(unsupported[0]!.names, ["a.qweight", "a.qzeros", "a.scales"]);
      assert.match(unsupported[0]!.why, /the layout "(marlin|bitblas|qqq|marlin_24|something)" is not read/);
    }
  });

  it("is never anything but a problem or an error of the library", async () => {
    const dtypes = fc.constantFrom("I32", "F16", "F32", "I16", "U8");
    const shape = fc.array(fc.nat({ max: 9 }), { maxLength: 3 });
    const sizes: Record<string, number> = { I32: 4, F16: 2, F32: 4, I16: 2, U8: 1 };
    const tensor = fc.record({ dtype: dtypes, shape, byte: fc.nat({ max: 255 }) });
    const layer = fc.dictionary(fc.constantFrom("qweight", "qzeros", "scales", "g_idx"), tensor);
    const field = fc.oneof(
      fc.integer(),
      fc.boolean(),
      fc.constantFrom("gptq", "awq", "gemv", "auto-round", null, { toString: 1 }),
    );
    const names = fc.constantFrom(
      "quant_method",
      "bits",
      "group_size",
      "desc_act",
      "checkpoint_format",
      "dynamic",
    );
    const property = fc.asyncProperty(layer, fc.dictionary(names, field), async (parts, config) => {
      const tensors = Object.entries(parts).map(([role, { dtype, shape, byte }]) => {
        const size = shape.reduce((product, n) => product * n, sizes[dtype]!);
        return [`a.${role}`, { dtype, shape, data: new Uint8Array(size).fill(byte) }] as const;
      });
      const { weights, checkpoint } = await found(Object.fromEntries(tensors), config);
      for (const weight of weights.values()) {
        try {
          await valuesOf(checkpoint, weight);
        } catch (error) {
          assert.ok(error instanceof SafetensorsError, String(error));
        }
      }
    });
    await fc.assert(property, { seed: 42, numRuns: 120 });
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
