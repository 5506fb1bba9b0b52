import assert from "node:assert/strict";
import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { DTYPE_ORDER, DTYPES } from "../../src/dtype/dtype.ts";
import type { IndexItem } from "../../src/view/index-items.ts";
import type { TensorForm, WorkerPool } from "../../src/workers/index.ts";
import { type HandMade, handMade, noise } from "../support.ts";

/** A tensor of noise. */
export function tensorOf(dtype: string, shape: readonly number[], seed = 1): HandMade {
  const bits = DTYPES[dtype as "U8"].bits * shape.reduce((product, size) => product * size, 1);
  return { dtype, shape, data: noise(bits / 8, seed) };
}

/** A file with a tensor of noise of every dtype, with one that is empty and a scalar. */
export function everyDtype(shape: readonly number[] = [6, 4, 10]): Uint8Array<ArrayBuffer> {
  const tensors = DTYPE_ORDER.map((dtype, i) => [dtype, tensorOf(dtype, shape, i)] as const);
  return handMade({
    ...Object.fromEntries(tensors),
    empty: tensorOf("BF16", [0, 3]),
    scalar: tensorOf("F64", []),
  });
}

/** What one thread gets for a tensor or a part of it. */
export async function expected(
  checkpoint: Checkpoint,
  name: string,
  form: TensorForm,
  slice: readonly IndexItem[] = [],
): Promise<{ dtype: string; shape: readonly number[]; bytes: Uint8Array }> {
  const tensor = checkpoint.get(name).slice(...slice);
  const { dtype, shape } = tensor;
  if (form === "bytes") return { dtype, shape, bytes: new Uint8Array(await tensor.bytes()) };
  const floats = await tensor.toFloat32();
  return {
    dtype: "F32",
    shape: dtype === "C64" ? [...shape, 2] : shape,
    bytes: new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength),
  };
}

/** Asserts that a pool gives every tensor as one thread does, in the same order; returns how many there are. */
export async function assertSame(pool: WorkerPool, checkpoint: Checkpoint): Promise<number> {
  assert.deepEqual([...pool.keys()], [...checkpoint.keys()]);
  for (const form of ["bytes", "F32"] as const) {
    const names: string[] = [];
    for await (const { name, dtype, shape, bytes } of pool.read({ as: form })) {
      names.push(name);
      assert.ok(bytes.buffer instanceof SharedArrayBuffer);
      const wanted = await expected(checkpoint, name, form);
      assert.deepEqual([dtype, shape], [wanted.dtype, wanted.shape], name);
      assert.ok(Buffer.compare(bytes, wanted.bytes) === 0, `${name} as ${form}`);
    }
    assert.deepEqual(names, [...checkpoint.keys()]);
  }
  return checkpoint.size;
}
