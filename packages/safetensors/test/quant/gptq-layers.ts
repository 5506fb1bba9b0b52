import { createHash } from "node:crypto";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import { cutParts } from "../../src/quant/cut-parts.ts";
import { decodePiece } from "../../src/quant/dense-source.ts";
import { findQuantized, type Quantization } from "../../src/quant/find.ts";
import type { QuantizedWeight } from "../../src/quant/weight.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { type Cut, cutView } from "../../src/view/cut.ts";
import type { TensorView } from "../../src/view/tiling.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { fixture } from "../fixtures.ts";
import { type HandMade, handMade, numbers } from "../support.ts";

/** What a checkpoint and a `quantization_config` are found to be. */
export async function found(
  tensors: Readonly<Record<string, HandMade>>,
  config?: Readonly<Record<string, unknown>>,
): Promise<Quantization & { readonly checkpoint: Checkpoint }> {
  return foundIn(await open(handMade(tensors)), config);
}

export async function foundIn(
  checkpoint: Checkpoint,
  config?: Readonly<Record<string, unknown>>,
): Promise<Quantization & { readonly checkpoint: Checkpoint }> {
  const configs = config ? { "config.json": { quantization_config: config } } : {};
  return Object.assign(await findQuantized(checkpoint, { configs }), { checkpoint });
}

/** A fixture, as its configuration says, and the SHA-256 of each dense weight that the original gives. */
export async function fixtureFound(name: string): Promise<{
  readonly found: Quantization & { readonly checkpoint: Checkpoint };
  readonly config: Record<string, unknown>;
  readonly dense: Map<string, string>;
}> {
  const { config, dense } = JSON.parse(new TextDecoder().decode(fixture(`quant/${name}.json`)));
  const checkpoint = await open(fixture(`quant/${name}.safetensors`));
  return { found: await foundIn(checkpoint, config), config, dense: new Map(Object.entries(dense)) };
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Values of a piece of a weight, all of it unless a cut is given. */
export function valuesOf(
  checkpoint: Checkpoint,
  weight: QuantizedWeight,
  cut: Cut = [],
): Promise<Float32Array> {
  return decodePiece(weight, (name) => checkpoint.get(name), cut);
}

/** The rows and columns of a matrix that a cut takes. */
export function cutOf(values: Float32Array, columns: number, rows: Span, inputs: Span): number[] {
  const result: number[] = [];
  for (let row = rows[0]; row < rows[1]; row++)
    for (let column = inputs[0]; column < inputs[1]; column++) result.push(values[row * columns + column]!);
  return result;
}

type Span = readonly [start: number, stop: number];

/** A checkpoint of nothing but the parts of a piece of a weight. */
export function checkpointOfPiece(checkpoint: Checkpoint, weight: QuantizedWeight, cut: Cut): Checkpoint {
  const views = new Map<string, TensorView>();
  for (const { part, cut: own, restated } of cutParts(weight, cut).parts) {
    const view = restated
      ? viewOf(restated.dtype, restated.shape, restated.bytes)
      : checkpoint.get(part.name).view;
    views.set(part.name, restated ? view : cutView(view, own));
  }
  const tensors = { size: views.size, names: () => views.keys(), find: (name: string) => views.get(name) };
  return new Checkpoint({ format: "test", tensors });
}

function viewOf(dtype: TensorView["dtype"], shape: readonly number[], bytes: Uint8Array): TensorView {
  return { source: fromBytes(bytes), dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
}

/** Codes of some bits, in rows, each a stream of 32-bit words: bit by bit. */
export function packed(rows: readonly (readonly number[])[], bits: number): Uint32Array<ArrayBuffer> {
  const width = Math.ceil(((rows[0]?.length ?? 0) * bits) / 32);
  const words = new Uint32Array(rows.length * width);
  for (const [row, codes] of rows.entries())
    for (const [i, code] of codes.entries())
      for (let bit = 0; bit < bits; bit++) {
        const at = i * bits + bit;
        words[row * width + Math.floor(at / 32)]! |= ((code >>> bit) & 1) << (at % 32);
      }
  return words;
}

export function i32(
  shape: readonly number[],
  words: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>,
): HandMade {
  return { dtype: "I32", shape, data: new Uint8Array(words.buffer) };
}

export function f32(shape: readonly number[], values: readonly number[]): HandMade {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

/** How a layer of GPTQ is made. */
export interface LayerOptions {
  readonly rows?: number;
  readonly columns?: number;
  readonly bits?: number;
  readonly group?: number;
  /** What is stored as zero of an output; unless given, anything. */
  readonly zero?: (output: number, next: () => number) => number;
  readonly index?: readonly number[];
}

/** Tensors of a layer of GPTQ with random codes and scales. */
export function gptqLayer(module: string, options: LayerOptions = {}): Record<string, HandMade> {
  const { rows = 64, columns = 64, bits = 4, group = 32, zero, index } = options;
  const next = numbers(module.length + rows + columns);
  const mask = 2 ** bits - 1;
  const groups = Math.ceil(columns / group);
  const turned = packed(random(rows, columns), bits);
  const height = Math.ceil((columns * bits) / 32);
  const words = turned.map((_, i) => turned[(i % rows) * height + Math.floor(i / rows)]!);
  const zeros = random(groups, rows).map((row) => row.map((code, n) => (zero ? zero(n, next) : code)));
  function random(height: number, width: number): number[][] {
    return Array.from({ length: height }, () => Array.from({ length: width }, () => next() & mask));
  }
  return {
    [`${module}.qweight`]: i32([height, rows], words),
    [`${module}.qzeros`]: i32([groups, Math.ceil((rows * bits) / 32)], packed(zeros, bits)),
    [`${module}.scales`]: f32([groups, rows], random(groups, rows).flat()),
    ...(index && { [`${module}.g_idx`]: i32([columns], Int32Array.from(index)) }),
  };
}
