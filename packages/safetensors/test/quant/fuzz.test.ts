import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPE_ORDER, DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { SafetensorsError } from "../../src/errors.ts";
import { cutParts } from "../../src/quant/cut-parts.ts";
import { decodePiece } from "../../src/quant/dense-source.ts";
import { dequantized } from "../../src/quant/dequantize.ts";
import { findQuantized } from "../../src/quant/find.ts";
import type { ByteSource } from "../../src/source/source.ts";
import type { Cut } from "../../src/view/cut.ts";
import { range } from "../../src/view/index-items.ts";
import { contiguousStrides } from "../../src/view/view.ts";
import { numbers } from "../support.ts";
import { type FixtureCheckpoint, fixtureCheckpoints, type StoredTensor } from "./fixture-checkpoints.ts";

/** Checkpoints that are tried; `QUANT_FUZZ_RUNS` for more, `QUANT_FUZZ_SEED` for others. */
const RUNS = Number(process.env.QUANT_FUZZ_RUNS ?? 120);
const SEED = Number(process.env.QUANT_FUZZ_SEED ?? 42);

/** Bytes that a piece may have to be decoded, and milliseconds that a checkpoint may take: small ones take one. */
const SMALL = 1 << 16;
const SLOW = 3000;

const random = numbers(SEED);
const below = (count: number): number => random() % Math.max(1, count);
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
const chance = (percent: number): boolean => below(100) < percent;

const SIZES = [0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 64, 128, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 50];
const VALUES: readonly (() => unknown)[] = [
  ...[0, 1, 2, 3, 4, 5, 8, 16, 32, 64, -1, -64, 0.5, 1e300, 2 ** 53, Number.NaN, -0].map((one) => () => one),
  ...[null, true, false, "", "4", "gptq", "awq", "gptq_v2", "gptq_p", "gemv", "gemv_fast", "fp8"].map(
    (one) => () => one,
  ),
  ...["compressed-tensors", "modelopt", "hqq", "mxfp4", "int", "float", "float32", "re:("].map(
    (one) => () => one,
  ),
  () => "re:(a*)*b",
  () => `${"(".repeat(100)}x`,
  () => [],
  () => ({}),
  () => [128, 128],
  () => [0, 0],
  () => ["re:.*", "Linear", 4, null],
  () => JSON.parse('{"__proto__": {"bits": 4}, "constructor": 1}'),
  () => nested(5000),
];

/** Objects in objects, so deep that recursion would fail. */
function nested(depth: number): unknown {
  let value: unknown = 4;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { a: value };
  return value;
}

/** As many bytes as a header asks for: nobody reads many of them. */
class Endless implements ByteSource {
  readonly name = "endless";
  readonly size: number;
  readonly #bytes: Uint8Array;

  constructor(size: number, bytes: Uint8Array) {
    this.size = size;
    this.#bytes = bytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    assert.ok(offset >= 0 && offset + length <= this.size, `read of ${offset}, ${length} of ${this.size}`);
    assert.ok(length <= 1 << 20, `${length} bytes are read at once`);
    return Uint8Array.from({ length }, (_, i) => this.#bytes[(offset + i) % this.#bytes.length] ?? 0);
  }
}

function bytesOf({ dtype, shape }: StoredTensor): number {
  return Math.ceil((elementCount(shape) * DTYPES[dtype as Dtype].bits) / 8);
}

/** What a header may say: all products of sizes are exact. */
function isHeader(tensor: StoredTensor): boolean {
  const product = tensor.shape.reduce((all, size) => all * Math.max(1, size), 8);
  return (
    Number.isSafeInteger(product * 16) &&
    Number.isInteger((elementCount(tensor.shape) * DTYPES[tensor.dtype as Dtype].bits) / 8)
  );
}

function mutatedTensor(tensor: StoredTensor): StoredTensor {
  const { dtype, shape, data } = tensor;
  switch (below(6)) {
    case 0:
      return { ...tensor, dtype: pick(DTYPE_ORDER) };
    case 1:
      return { ...tensor, shape: shape.map((size) => (chance(50) ? pick(SIZES) : size)) };
    case 2:
      return {
        ...tensor,
        shape: chance(50) ? [...shape].reverse() : [...shape, pick(SIZES)].slice(below(2)),
      };
    case 3: {
      const other = data.slice();
      for (let i = below(4); i >= 0 && other.length > 0; i--) other[below(other.length)] = below(256);
      return { dtype, shape, data: other };
    }
    case 4: {
      // Texts stay texts: a digit, or a letter, for another.
      const other = data.slice();
      const at = below(other.length);
      if (other.length > 0) other[at] = pick([...'0123456789-e.{}[]",:'].map((sign) => sign.charCodeAt(0)));
      return { dtype, shape, data: other };
    }
    default:
      return { dtype, shape, data: new Uint8Array(data.length).fill(pick([0, 0x7f, 0x80, 0xff])) };
  }
}

function mutatedTensors(tensors: Map<string, StoredTensor>): void {
  const name = pick([...tensors.keys()]);
  const tensor = tensors.get(name);
  if (!tensor) return;
  switch (below(8)) {
    case 0:
      tensors.delete(name);
      return;
    case 1: {
      const other = pick([...tensors.keys()]);
      tensors.set(name, tensors.get(other)!);
      return;
    }
    case 2: {
      tensors.delete(name);
      const module = name.slice(0, name.lastIndexOf(".") + 1);
      const last = pick([...tensors.keys(), "a.weight", "__proto__", "", "."])
        .split(".")
        .at(-1)!;
      tensors.set(chance(50) ? last : module + last, tensor);
      return;
    }
    default: {
      const other = mutatedTensor(tensor);
      if (isHeader(other)) tensors.set(name, other);
    }
  }
}

/** JSON with one value, somewhere, changed, removed, or there under another key. */
function mutatedJson(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null || depth > 6 || chance(15)) return pick(VALUES)();
  const entries = Object.entries(value);
  if (entries.length === 0) return pick(VALUES)();
  const [key, inside] = pick(entries);
  if (Array.isArray(value)) return value.map((one) => (one === inside ? mutatedJson(one, depth + 1) : one));
  const rest = entries.filter(([other]) => other !== key);
  if (chance(10)) return Object.fromEntries(rest);
  if (chance(5))
    return Object.fromEntries([...rest, [pick(["__proto__", "bits", "re:.*", "group_size"]), inside]]);
  return Object.fromEntries([...rest, [key, mutatedJson(inside, depth + 1)]]);
}

function mutatedMetadata(metadata: ReadonlyMap<string, string>): Map<string, string> {
  const result = new Map(metadata);
  if (result.size === 0 || chance(80)) return result;
  const [key, text] = pick([...result]);
  try {
    result.set(key, JSON.stringify(mutatedJson(JSON.parse(text))) ?? "");
  } catch {
    result.set(key, `${"[".repeat(5000)}`);
  }
  return result;
}

function checkpointOf(tensors: ReadonlyMap<string, StoredTensor>, metadata: Map<string, string>): Checkpoint {
  const find = (name: string) => {
    const tensor = tensors.get(name);
    if (!tensor) return undefined;
    const { dtype, shape, data } = tensor;
    const source = new Endless(bytesOf(tensor), data);
    return { source, dtype: dtype as Dtype, shape, strides: contiguousStrides(shape), bitOffset: 0 };
  };
  const index = { size: tensors.size, names: () => tensors.keys(), find };
  return new Checkpoint({ format: "safetensors", tensors: index, metadata });
}

/** Runs something that may fail, but only with an error that says which tensor it is of. */
async function survives(run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    assert.ok(error.code && error.details.tensor !== undefined, `says no tensor: ${error.message}`);
  }
}

function randomCut(shape: readonly number[]): Cut {
  if (shape.length === 0) return [];
  const axis = below(shape.length);
  const size = shape[axis]!;
  const places = [Math.floor((below(9) / 8) * size), below(Math.min(size, 2 ** 31) + 1)];
  const [start, stop] = places.sort((a, b) => a - b) as [number, number];
  const step = chance(10) ? 2 : 1;
  const ranges = chance(10)
    ? [
        { start: 0, stop: start },
        { start: stop, stop: size },
      ]
    : [{ start, stop, step }];
  return [{ axis, ranges, ...(chance(5) && { padding: 1 }) }];
}

async function tried({ tensors, configs, metadata }: FixtureCheckpoint): Promise<number> {
  const changed = new Map(tensors);
  const changes = below(4);
  for (let i = 0; i < changes; i++) mutatedTensors(changed);
  const files = changes === 0 || chance(30) ? (mutatedJson(configs) as typeof configs) : configs;
  const checkpoint = checkpointOf(changed, mutatedMetadata(metadata));
  const found = await findQuantized(checkpoint, { configs: Object(files) });
  for (const { name, text } of found.problems) assert.ok(typeof name === "string" && text.length > 0);
  const dense = dequantized(checkpoint, found);
  const weights = [...found.weights.values()];
  for (const weight of weights.length > 8 ? [pick(weights), pick(weights)] : weights) {
    const cut = randomCut(weight.shape);
    await survives(() => cutParts(weight, cut));
    if (weight.parts.some(({ name }) => checkpoint.get(name).byteLength > SMALL)) continue;
    // What a few bytes stand for has few elements.
    assert.ok(elementCount(weight.shape) <= SMALL * 8, `${weight.name} [${weight.shape}]`);
    await survives(() => dense.get(weight.name).bytes());
    await survives(() => decodePiece(weight, (name): TensorHandle => checkpoint.get(name), cut));
    await survives(() => dense.get(weight.name).slice(range(1, 2)).bytes());
  }
  return weights.length;
}

test("changed checkpoints give weights, problems, or errors that say the tensor", async () => {
  const all = await fixtureCheckpoints();
  let found = 0;
  for (let run = 0; run < RUNS; run++) {
    const one = pick(all);
    const start = performance.now();
    try {
      found += await tried(one);
    } catch (error) {
      throw new Error(
        `${one.title}, run ${run} of seed ${SEED}: ${error instanceof Error ? error.stack : error}`,
      );
    }
    assert.ok(performance.now() - start < SLOW, `${one.title}, run ${run} of seed ${SEED} is slow`);
  }
  assert.ok(found > RUNS / 2, `only ${found} weights were found`);
});
