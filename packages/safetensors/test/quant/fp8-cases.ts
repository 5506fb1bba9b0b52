import assert from "node:assert/strict";
import fc from "fast-check";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { DTYPE_ORDER, DTYPES, elementCount } from "../../src/dtype/dtype.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { grainOf } from "../../src/quant/cut-parts.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized, type Quantization } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import type { Cut } from "../../src/view/cut.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import { fixture } from "../fixtures.ts";
import { type HandMade, handMade, noise, numbers } from "../support.ts";
import { checkpointOfPiece, sha256, valuesOf } from "./gptq-layers.ts";

/** JSON files beside a checkpoint. */
export type Configs = Readonly<Record<string, unknown>>;

/** A dense tensor as an original gives it. */
interface DenseTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}

/** A small checkpoint that an original wrote; see interop/make_quant_ct_fixtures.py. */
export interface Case {
  readonly title: string;
  readonly tensors: ReadonlyMap<string, HandMade>;
  /** The file that each tensor lies in. */
  readonly shard: ReadonlyMap<string, number>;
  readonly configs: Configs;
  readonly dense: readonly DenseTensor[];
}

/** The cases of a folder of fixtures. */
export async function casesOf(group: string): Promise<Case[]> {
  const listed = JSON.parse(new TextDecoder().decode(fixture(`quant/${group}/expected.json`)));
  const cases = new Map<string, Map<string, HandMade>>();
  for (const tensor of await open(fixture(`quant/${group}/stored.safetensors`))) {
    const [, at, name] = /^(\d+)\/(.*)$/.exec(tensor.name)!;
    if (!cases.has(at!)) cases.set(at!, new Map());
    cases.get(at!)!.set(name!, { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.bytes() });
  }
  return listed.map(({ case: title, shard, configs, dense }: Record<string, never>, at: number) => {
    return { title, tensors: cases.get(`${at}`)!, shard: new Map(Object.entries(shard!)), configs, dense };
  });
}

/** A case as it was written: tensors of several files. */
export async function checkpointOf({ tensors, shard }: Pick<Case, "tensors" | "shard">): Promise<Checkpoint> {
  const files = [...new Set(shard.values())].map((file) => {
    const own = [...tensors].filter(([name]) => shard.get(name) === file);
    return open(handMade(Object.fromEntries(own)));
  });
  const views = new Map<string, TensorView>();
  for (const file of await Promise.all(files)) for (const { name, view } of file) views.set(name, view);
  const index = { size: views.size, names: () => views.keys(), find: (name: string) => views.get(name) };
  return new Checkpoint({ format: "safetensors", tensors: index });
}

/** What is found in tensors made by hand. */
export async function foundAmong(
  tensors: Readonly<Record<string, HandMade>>,
  configs: Configs = {},
): Promise<Quantization & { readonly checkpoint: Checkpoint }> {
  const checkpoint = await open(handMade(tensors));
  return Object.assign(await findQuantized(checkpoint, { configs }), { checkpoint });
}

/** A tensor of random bytes. */
export function any(dtype: keyof typeof DTYPES, ...shape: number[]): HandMade {
  const bytes = Math.ceil((elementCount(shape) * DTYPES[dtype].bits) / 8);
  return { dtype, shape, data: noise(bytes, shape.length + bytes) };
}

/** Problems in one text. */
export function shown({ problems, unsupported }: Quantization): string {
  return [
    ...problems.map(({ name, text }) => `${name} ${text}`),
    ...unsupported.map(({ scheme }) => scheme),
  ].join("\n");
}

/** The dense checkpoint has the tensors of the original, bit for bit, and nothing is said against it. */
export async function assertDense(one: Case): Promise<void> {
  const stored = await checkpointOf(one);
  const found = await findQuantized(stored, { configs: one.configs });
  assert.equal(shown(found), "");
  const dense = [];
  for (const tensor of dequantized(stored, found)) {
    const { name, dtype, shape } = tensor;
    dense.push({ name, dtype, shape: [...shape], sha256: sha256(await tensor.bytes()) });
  }
  dense.sort((a, b) => (a.name < b.name ? -1 : 1));
  assert.deepEqual(dense, one.dense);
}

/** Each piece that the limits allow is the piece of the dense weight, and again a weight of the scheme. */
export async function assertPieces(one: Case, runs: number): Promise<void> {
  const stored = await checkpointOf(one);
  const { weights } = await findQuantized(stored, { configs: one.configs });
  for (const weight of weights.values()) {
    const whole = await valuesOf(stored, weight);
    await fc.assert(
      fc.asyncProperty(cutsOf(weight), async (cut) => {
        const expected = piece(whole, weight.shape, cut);
        sameFloats(await valuesOf(stored, weight, cut), expected);
        const part = checkpointOfPiece(stored, weight, cut);
        const again = await findQuantized(part, { configs: one.configs });
        assert.equal(shown(again), "");
        const found = again.weights.get(weight.name);
        assert.ok(found, "the piece is no weight");
        sameFloats(await valuesOf(part, found), expected);
      }),
      { seed: 42, numRuns: runs },
    );
  }
}

/** Whatever is changed of the headers of a case, there is nothing but problems, and errors of ours when it is read. */
export async function assertHostile(one: Case, runs: number): Promise<void> {
  const next = numbers(one.title.length);
  const sizes = [0, 1, 2, 3, 5, 16, 31, 32, 33, 96];
  for (let run = 0; run < runs; run++) {
    const tensors: Record<string, HandMade> = {};
    const target = next() % one.tensors.size;
    for (const [at, [name, tensor]] of [...one.tensors].entries()) {
      let { dtype, shape } = tensor;
      if (at === target) {
        const way = next() % 3;
        if (way === 0) dtype = DTYPE_ORDER[next() % DTYPE_ORDER.length]!;
        else if (way === 1) shape = shape.map((size) => (next() % 2 ? size : sizes[next() % sizes.length]!));
        else shape = Array.from({ length: next() % 4 }, () => sizes[next() % sizes.length]!);
      }
      const bits = elementCount(shape) * DTYPES[dtype as keyof typeof DTYPES].bits;
      if (bits % 8 !== 0) shape = [...shape, 8];
      tensors[name] = any(dtype as keyof typeof DTYPES, ...shape);
    }
    try {
      const found = await foundAmong(tensors, one.configs);
      for (const tensor of dequantized(found.checkpoint, found)) await tensor.bytes();
    } catch (error) {
      assert.ok(error instanceof SafetensorsError, `${one.title}: ${(error as Error).stack}`);
    }
  }
}

/** Cuts of all axes on their limits. */
function cutsOf(weight: QuantizedWeight): fc.Arbitrary<Cut> {
  const grains = grainOf(weight);
  const spans = weight.shape.map((size, axis) => {
    const steps = Math.ceil(size / grains[axis]!);
    const at = fc.tuple(fc.nat(steps - 1), fc.nat(steps - 1)).map(([a, b]) => {
      const [start, stop] = [Math.min(a, b) * grains[axis]!, (Math.max(a, b) + 1) * grains[axis]!];
      return { axis, ranges: [{ start, stop: Math.min(size, stop) }] };
    });
    return at;
  });
  return fc.tuple(...spans);
}

function piece(whole: Float32Array, shape: readonly number[], cut: Cut): Float32Array {
  const result: number[] = [];
  const walk = (axis: number, offset: number): void => {
    if (axis === shape.length) {
      result.push(whole[offset]!);
      return;
    }
    const { start, stop } = cut.find((one) => one.axis === axis)?.ranges[0] ?? {
      start: 0,
      stop: shape[axis]!,
    };
    for (let i = start; i < stop; i++) walk(axis + 1, offset * shape[axis]! + i);
  };
  walk(0, 0);
  return Float32Array.from(result);
}

function sameFloats(actual: Float32Array, expected: Float32Array): void {
  assert.equal(actual.length, expected.length);
  const at = actual.findIndex((value, i) => !Object.is(value, expected[i]));
  assert.ok(at < 0, `element ${at} is ${actual[at]}, expected ${expected[at]}`);
}
