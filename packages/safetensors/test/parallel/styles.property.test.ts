import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { cutTensor } from "../../src/parallel/cut-tensor.ts";
import { joinShards } from "../../src/parallel/join.ts";
import { type Style, shardTensor } from "../../src/parallel/style.ts";
import { STYLE_NAMES } from "../../src/parallel/style-names.ts";
import { cutShape } from "../../src/view/cut.ts";
import { tensorOf, viewOf } from "./tensors.ts";

/** A style, a tensor for it, and how often the ranks together have each of its elements on average. */
interface Case {
  readonly style: Style;
  readonly name: string;
  readonly shape: readonly number[];
  readonly world: number;
  readonly copies: number;
}

const small = fc.integer({ min: 1, max: 5 });
const worlds = fc.integer({ min: 1, max: 8 });
const dtypes = fc.constantFrom<Dtype>("F4", "F6_E2M3", "BOOL", "F8_E4M3", "BF16", "F32", "I64");
const names = fc.constantFrom("a.q_proj.weight", "a.q_proj.bias", "a.embed_tokens.weight", "a.experts.up");

const named: fc.Arbitrary<Case> = fc
  .record({
    style: fc.constantFrom(...(STYLE_NAMES.keys() as Iterable<never>)) as fc.Arbitrary<Style>,
    name: names,
    shape: fc.array(small, { minLength: 1, maxLength: 3 }),
    world: worlds,
  })
  .map(({ style, name, shape, world }) => {
    // Packed styles have two blocks, experts divide, and this style needs a second axis.
    const even = shape.map((size) => 2 * size).with(0, world * 2 * shape[0]!);
    const fitting = style === "embedding_colwise" && shape.length === 1 ? [...even, 3] : even;
    const [cut] = shardTensor(name, fitting, style, { rank: 0, world });
    return { style, name, shape: fitting, world, copies: cut === undefined ? world : 1 };
  });

const detailed: fc.Arbitrary<Case> = fc
  .record({
    kind: fc.constantFrom("plain", "blocks", "units", "heads", "key_value_heads", "vocabulary"),
    along: fc.constantFrom("out" as const, "in" as const),
    transposed: fc.boolean(),
    other: small,
    count: small,
    times: fc.integer({ min: 1, max: 3 }),
    world: worlds,
    multiple: fc.boolean(),
  })
  .map(({ kind, along, transposed, other, count, times, world, multiple }) => {
    const [style, size, copies] = ((): [object, number, number] => {
      if (kind === "blocks") return [{ blocks: [count, 1, 2] }, (count + 3) * times, 1];
      if (kind === "units") return [{ unit: count }, count * times, 1];
      if (kind === "heads") return [{ heads: count * world }, count * world * times, 1];
      if (kind === "vocabulary") return [multiple ? { multiple: 2 * world } : {}, count * times, 1];
      if (kind === "key_value_heads") {
        const isShared = world % count === 0;
        const heads = isShared ? count : count * world;
        return [{ heads, headDim: times }, heads * times, isShared ? world / count : 1];
      }
      return [{}, count * times, 1];
    })();
    const isLast = (along === "out") === transposed;
    return {
      style: { along, transposed, kind, ...style } as Style,
      name: "a.weight",
      shape: isLast ? [other, size] : [size, other],
      world,
      copies,
    };
  });

const fused: fc.Arbitrary<Case> = fc
  .record({
    order: fc.constantFrom("blocks" as const, "groups" as const),
    keyValueHeads: fc.constantFrom(1, 2, 4),
    world: fc.constantFrom(1, 2, 4, 8),
    times: fc.constantFrom(1, 2),
    headDim: small,
    other: small,
    transposed: fc.boolean(),
  })
  .map(({ order, keyValueHeads, world, times, headDim, other, transposed }) => {
    const heads = Math.max(keyValueHeads, world) * times;
    const size = (heads + 2 * keyValueHeads) * headDim;
    const shared = 2 * keyValueHeads * Math.max(1, world / keyValueHeads);
    return {
      style: { along: "out", kind: "fused_heads", heads, keyValueHeads, headDim, order, transposed },
      name: "a.query_key_value.weight",
      shape: transposed ? [other, size] : [size, other],
      world,
      copies: (heads + shared) / (heads + 2 * keyValueHeads),
    };
  });

/** Cuts for all ranks, reads what each has, and puts that together again. */
async function check({ style, name, shape, world, copies }: Case, dtype: Dtype): Promise<void> {
  // A tensor fills its bytes; its shards may end inside one.
  fc.pre((elementCount(shape) * DTYPES[dtype].bits) % 8 === 0);
  const whole = tensorOf(name, shape, dtype, 5);
  let elements = 0;
  const shards = await Promise.all(
    Array.from({ length: world }, async (_, rank) => {
      const cut = shardTensor(name, shape, style, { rank, world });
      const part = cutTensor(whole, cut);
      elements += elementCount(
        cutShape(
          shape,
          cut.map(({ axis, ranges }) => ({ axis, ranges })),
        ),
      );
      return { cut, view: viewOf(dtype, part.shape, await part.bytes()) };
    }),
  );
  const joined = new TensorHandle(name, joinShards(shape, shards));
  assert.deepEqual(await joined.bytes(), await whole.bytes());
  assert.equal(elements, Math.round(elementCount(shape) * copies));
}

const options = { seed: 42, numRuns: 150 };

describe("the shards of all ranks", () => {
  it("are the tensor again, by every style of transformers", async () => {
    await fc.assert(fc.asyncProperty(named, dtypes, check), options);
  });

  it("are the tensor again, by every style of ours", async () => {
    await fc.assert(fc.asyncProperty(detailed, dtypes, check), options);
  });

  it("are the tensor again, where q, k and v are one matrix", async () => {
    await fc.assert(fc.asyncProperty(fused, dtypes, check), options);
  });
});
