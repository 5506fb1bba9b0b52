import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { openSafetensors } from "../../src/checkpoint/safetensors.ts";
import { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { SafetensorsError } from "../../src/errors.ts";
import type { ConfigFiles } from "../../src/quant/config.ts";
import { cutParts, grainOf } from "../../src/quant/cut-parts.ts";
import { decodePiece } from "../../src/quant/dense-source.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized, type Quantization } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { type Cut, cutView } from "../../src/view/cut.ts";
import { range } from "../../src/view/index-items.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { fixture } from "../fixtures.ts";
import { handMade, raises } from "../support.ts";

/** A dense weight as the library of its layout has it. */
interface Expected {
  readonly dtype: "F32" | "F16" | "BF16";
  readonly shape: readonly number[];
  readonly sha256?: string;
  /** The largest difference that its roundings make. */
  readonly bound?: number;
}

const EXPECTED = JSON.parse(new TextDecoder().decode(fixture("quant/others.json"))) as Record<
  string,
  Record<string, Expected>
>;

/** A checkpoint and what is found in it. */
export interface Found {
  readonly checkpoint: Checkpoint;
  readonly quantization: Quantization;
}

/** Tensors that a test changes: dtype, shape and bytes, by name. */
export type Stored = Record<string, { dtype: string; shape: readonly number[]; data: Uint8Array }>;

/** A checkpoint that a library wrote. */
export async function openCase(name: string): Promise<Found> {
  const checkpoint = await openSafetensors(fromBytes(fixture(`quant/${name}/model.safetensors`)));
  return { checkpoint, quantization: await findQuantized(checkpoint, { configs: configOf(name) }) };
}

/** The tensors of such a checkpoint, to be changed. */
export async function storedIn(name: string): Promise<Stored> {
  const stored: Stored = {};
  for (const tensor of await openSafetensors(fromBytes(fixture(`quant/${name}/model.safetensors`))))
    stored[tensor.name] = { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.bytes() };
  return stored;
}

/** The parsed config.json of such a checkpoint. */
export function configOf(name: string): ConfigFiles {
  return {
    "config.json": JSON.parse(new TextDecoder().decode(fixture(`quant/${name}/config.json`))) as unknown,
  };
}

/** A checkpoint of these tensors. */
export async function foundIn(
  stored: Stored,
  configs: ConfigFiles = {},
  metadata?: Readonly<Record<string, string>>,
): Promise<Found> {
  const checkpoint = await openSafetensors(fromBytes(handMade(stored, metadata)));
  return { checkpoint, quantization: await findQuantized(checkpoint, { configs }) };
}

/** The weights of a case are those that its library gives, and nothing else of it is left over but floats. */
export async function checkCase(name: string): Promise<Found> {
  const found = await openCase(name);
  const { checkpoint, quantization } = found;
  assert.deepEqual(quantization.problems, []);
  assert.deepEqual(quantization.unsupported, []);
  const dense = dequantized(checkpoint, quantization);
  const expected = EXPECTED[name]!;
  assert.deepEqual(new Set(quantization.weights.keys()), new Set(Object.keys(expected)));
  const bounded = Object.values(expected).some(({ bound }) => bound !== undefined)
    ? await openSafetensors(fromBytes(fixture(`quant/${name}/dense.safetensors`)))
    : undefined;
  for (const [weight, { dtype, shape, sha256, bound }] of Object.entries(expected)) {
    const tensor = dequantized(checkpoint, quantization, { dtype }).get(weight);
    assert.deepEqual(tensor.shape, shape, weight);
    if (bound === undefined) {
      const digest = createHash("sha256")
        .update(await tensor.bytes())
        .digest("hex");
      assert.equal(digest, sha256, weight);
    } else {
      const [ours, theirs] = [await tensor.toFloat32(), await bounded!.get(weight).toFloat32()];
      const largest = ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i]!)), 0);
      assert.ok(largest <= bound, `${weight}: ${largest} off, at most ${bound}`);
    }
  }
  for (const tensor of dense) assert.match(tensor.dtype, /^(F32|F16|BF16)$/, tensor.name);
  return found;
}

/** Any piece that lies on the limits is that piece of the whole; any other is refused. */
export async function checkCuts({ checkpoint, quantization }: Found, numRuns = 8): Promise<void> {
  const part = (name: string): TensorHandle => checkpoint.get(name);
  for (const weight of quantization.weights.values()) {
    const whole = await decodePiece(weight, part, []);
    const source = fromBytes(new Uint8Array(whole.buffer));
    const { shape } = weight;
    const dense = { source, dtype: "F32" as const, shape, strides: contiguousStrides(shape), bitOffset: 0 };
    const places = fc.tuple(
      fc.nat({ max: shape.length - 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat(),
    );
    await fc.assert(
      fc.asyncProperty(places, async ([axis, at, length]) => {
        const size = shape[axis]!;
        const start = Math.floor(at * size);
        const stop = Math.min(size, start + 1 + (length % size));
        const cut: Cut = [{ axis, ranges: [{ start, stop }] }];
        const grain = weight.indivisible === undefined ? grainOf(weight)[axis]! : size;
        const isOnGrain = [start, stop].every((place) => place === size || place % grain === 0);
        if (!isOnGrain) {
          assert.throws(() => cutParts(weight, cut), raises("INVALID_SLICE", /./));
          return;
        }
        const piece = await decodePiece(weight, part, cut);
        const expected = await new TensorHandle("w", cutView(dense, cut)).toFloat32();
        assert.ok(areSame(piece, expected), `${weight.name} ${axis} ${start}:${stop}`);
      }),
      { seed: 42, numRuns },
    );
  }
}

/** Whether numbers are the same to the bit, but for NaN. */
function areSame(some: Float32Array, others: Float32Array): boolean {
  return some.length === others.length && some.every((value, i) => Object.is(value, others[i]));
}

/** The stored tensors of a piece of a weight, as a file of the piece has them. */
export async function piecesOf({ checkpoint }: Found, weight: QuantizedWeight, cut: Cut): Promise<Stored> {
  const stored: Stored = {};
  for (const { part, cut: cutOfPart, restated } of cutParts(weight, cut).parts) {
    const tensor = new TensorHandle(part.name, cutView(checkpoint.get(part.name).view, cutOfPart));
    stored[part.name] = restated
      ? { dtype: restated.dtype, shape: restated.shape, data: restated.bytes }
      : { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.bytes() };
  }
  for (const name of weight.besides ?? []) {
    const tensor = checkpoint.get(name);
    stored[name] = { dtype: tensor.dtype, shape: tensor.shape, data: await tensor.bytes() };
  }
  return stored;
}

/**
 * Tensors of a case that are damaged in one place, many times: what is found is read, or refused with one of our
 * errors.
 */
export async function checkDamaged(name: string, metadata?: Readonly<Record<string, string>>): Promise<void> {
  const honest = await storedIn(name);
  const names = Object.keys(honest);
  const configs = configOf(name);
  const damage = fc.record({
    which: fc.nat({ max: names.length - 1 }),
    how: fc.constantFrom("drop", "shape", "dtype", "bytes", "empty"),
    at: fc.nat(),
    byte: fc.nat({ max: 255 }),
  });
  await fc.assert(
    fc.asyncProperty(damage, async ({ which, how, at, byte }) => {
      const name = names[which]!;
      const stored = { ...honest };
      const one = stored[name]!;
      const { length } = one.data;
      if (how === "drop") delete stored[name];
      else if (how === "empty") stored[name] = { ...one, shape: [0, ...one.shape], data: new Uint8Array() };
      else if (how === "bytes" && length > 0) {
        const data = new Uint8Array(one.data);
        data[at % length] = byte;
        stored[name] = { ...one, data };
      } else if (how === "dtype") stored[name] = { dtype: "U8", shape: [length], data: one.data };
      else stored[name] = { dtype: "I8", shape: [1, length], data: one.data };
      try {
        const { checkpoint, quantization } = await foundIn(stored, configs, metadata);
        const weight = quantization.weightOf.get(name);
        if (weight) await dequantized(checkpoint, quantization).get(weight.name).slice(range(0, 2)).bytes();
      } catch (error) {
        assert.ok(error instanceof SafetensorsError, String(error));
      }
    }),
    { seed: 42, numRuns: 20 },
  );
}
