import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { SafetensorsError } from "../errors.ts";
import type { ByteSource } from "../source/source.ts";
import { contiguousStrides, type StridedView } from "../view/view.ts";
import { receiveError, type SentIndex } from "./messages.ts";

/** Stands for the sources, which only workers have. */
const ELSEWHERE: ByteSource = {
  size: 0,
  read: () => Promise.reject(new SafetensorsError("UNSUPPORTED", "this tensor is read by workers")),
};

/** A checkpoint of headers alone: names, dtypes and shapes, and how the elements lie. Nothing can be read from it. */
export function checkpointOf({ format, metadata, problems, tensors }: SentIndex): Checkpoint {
  const views = new Map<string, StridedView>();
  for (const { name, dtype, shape, strides = contiguousStrides(shape) } of tensors) {
    views.set(name, { source: ELSEWHERE, dtype, shape, strides, bitOffset: 0 });
  }
  return new Checkpoint({
    format,
    metadata,
    problems: problems.map(receiveError).filter((error) => error instanceof SafetensorsError),
    tensors: { size: views.size, names: () => views.keys(), find: (name) => views.get(name) },
  });
}
