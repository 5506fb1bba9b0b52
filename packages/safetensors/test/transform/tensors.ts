import type { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { open } from "../../src/checkpoint/open.ts";
import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { DTYPES, type Dtype, elementCount } from "../../src/dtype/dtype.ts";
import { handMade, noise } from "../support.ts";

/** A checkpoint with random tensors of these shapes. */
export function checkpointOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  dtype: Dtype = "BF16",
): Promise<Checkpoint> {
  const tensors = Object.entries(shapes).map(([name, shape], i) => {
    const data = noise((elementCount(shape) * DTYPES[dtype].bits) / 8, i + 1);
    return [name, { dtype, shape, data }] as const;
  });
  return open(handMade(Object.fromEntries(tensors)));
}

/** What tensors hold, by name in the order of names. */
export async function contentOf(tensors: Iterable<TensorHandle>): Promise<Map<string, unknown>> {
  const content: [string, unknown][] = [];
  for (const tensor of tensors) {
    const bytes = Array.from(await tensor.bytes());
    content.push([tensor.name, { dtype: tensor.dtype, shape: [...tensor.shape], bytes }]);
  }
  return new Map(content.sort(([a], [b]) => (a < b ? -1 : 1)));
}
