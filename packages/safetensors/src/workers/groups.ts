import type { TensorHandle } from "../checkpoint/tensor.ts";
import { DTYPES, type Dtype } from "../dtype/dtype.ts";
import type { IndexItem } from "../view/index-items.ts";
import { isFloat32 } from "./decode-into.ts";
import type { Job, TensorForm } from "./messages.ts";
import { type Part, partsOf } from "./parts.ts";

/** Tensors of up to so many bytes and in such number are read together: one message, one piece of memory. */
const GROUP_BYTES = 1 << 20;
const GROUP_TENSORS = 1024;

/** A tensor of more bytes is cut, so that all workers have a part. None has more: it is to be given up soon. */
const PART_BYTES = 8 << 20;

/** Every tensor begins at a multiple: what the largest element type needs. */
const ALIGNMENT = 8;

/** A tensor that is asked for: the whole, and what of it is asked for by which index. */
export interface WantedTensor {
  readonly whole: TensorHandle;
  readonly chosen: TensorHandle;
  readonly slice: readonly IndexItem[] | undefined;
}

/** A tensor with its place in the memory of its group, in bytes. */
export interface PlacedTensor {
  readonly wanted: WantedTensor;
  readonly at: number;
  readonly length: number;
}

/** What one worker does at a time. */
export interface Batch {
  readonly jobs: readonly Job[];
  /** Bytes of the elements as they lie in the source. */
  readonly bytes: number;
  /** Bytes that the worker holds while it decodes. */
  readonly scratch: number;
}

/** Tensors that share one piece of memory: several small ones in one batch, or one by itself in as many as it needs. */
export interface Group {
  readonly tensors: readonly PlacedTensor[];
  readonly batches: readonly Batch[];
  /** Bytes of the memory. */
  readonly size: number;
  /** Most bytes that all workers together hold while they decode. */
  readonly scratch: number;
}

/** How tensors are grouped and cut. */
export interface GroupOptions {
  readonly form: TensorForm;
  readonly workers: number;
  /** Batches that all workers together have at a time. */
  readonly slots: number;
}

/** The tensors in groups, in their order. Only a tensor by itself makes a group of more than a part of the budget. */
export function* groupsOf(
  wanted: Iterable<WantedTensor>,
  budget: number,
  options: GroupOptions,
): Generator<Group, void, undefined> {
  const most = Math.min(GROUP_BYTES, budget / 8);
  let tensors: WantedTensor[] = [];
  let sum = 0;
  for (const tensor of wanted) {
    const bytes = aligned(largerBytes(tensor, options.form));
    if (tensors.length > 0 && (sum + bytes > most || tensors.length === GROUP_TENSORS)) {
      yield groupOf(tensors, options);
      tensors = [];
      sum = 0;
    }
    tensors.push(tensor);
    sum += bytes;
  }
  if (tensors.length > 0) yield groupOf(tensors, options);
}

/** One group of these tensors. */
export function groupOf(wanted: readonly WantedTensor[], options: GroupOptions): Group {
  let size = 0;
  const tensors = wanted.map((tensor): PlacedTensor => {
    const { dtype, length } = tensor.chosen;
    const placed = { wanted: tensor, at: size, length: bytesOf(length, resultBits(dtype, options.form)) };
    size += aligned(placed.length);
    return placed;
  });
  const [only] = tensors;
  const batches =
    only && tensors.length === 1
      ? partsFor(only, options).map((part) => batchOf([jobOf(only, part, options.form)]))
      : [batchOf(tensors.map((tensor) => jobOf(tensor, wholeOf(tensor), options.form)))];
  const scratch = batches.map((batch) => batch.scratch).sort((a, b) => b - a);
  return { tensors, batches, size, scratch: sum(scratch.slice(0, options.slots)) };
}

/** The parts of a tensor by itself. */
function partsFor({ wanted }: PlacedTensor, { form, workers }: GroupOptions): Part[] {
  const { view, dtype } = wanted.chosen;
  const total = largerBytes(wanted, form);
  const most = total > PART_BYTES ? Math.min(PART_BYTES, Math.ceil(total / workers)) : total;
  const bits = Math.max(DTYPES[dtype].bits, resultBits(dtype, form));
  return [...partsOf(view, Math.floor((most * 8) / bits))];
}

function wholeOf({ wanted }: PlacedTensor): Part {
  return { start: 0, count: wanted.chosen.length };
}

interface SizedJob {
  readonly job: Job;
  readonly bytes: number;
  readonly scratch: number;
}

function jobOf({ wanted, at }: PlacedTensor, { items, start, count }: Part, form: TensorForm): SizedJob {
  const { whole, slice } = wanted;
  const { name, dtype, byteLength: wholeBytes } = whole;
  const bits = resultBits(dtype, form);
  const bytes = bytesOf(count, DTYPES[dtype].bits);
  const slices = [slice, items].filter((each) => each !== undefined);
  return {
    job: { name, dtype, wholeBytes, slices, at: at + (start * bits) / 8, length: bytesOf(count, bits) },
    bytes,
    scratch: form === "F32" && !isFloat32(dtype) ? aligned(bytes) : 0,
  };
}

function batchOf(sized: readonly SizedJob[]): Batch {
  return {
    jobs: sized.map(({ job }) => job),
    bytes: sum(sized.map(({ bytes }) => bytes)),
    scratch: sum(sized.map(({ scratch }) => scratch)),
  };
}

/** Most bytes of the budget that it can take to read the tensor: before and after it is decoded. */
export function mostBytes({ chosen }: WantedTensor, form: TensorForm): number {
  const { dtype, length } = chosen;
  return aligned(bytesOf(length, resultBits(dtype, form))) + aligned(bytesOf(length, DTYPES[dtype].bits));
}

/** Bytes of the tensor before or after it is decoded, whichever is more. */
function largerBytes({ chosen }: WantedTensor, form: TensorForm): number {
  const { dtype, length } = chosen;
  return bytesOf(length, Math.max(DTYPES[dtype].bits, resultBits(dtype, form)));
}

/** Bits of an element as it is handed out; C64 has two floats an element. */
function resultBits(dtype: Dtype, form: TensorForm): number {
  return form === "bytes" || dtype === "C64" ? DTYPES[dtype].bits : 32;
}

function bytesOf(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8);
}

/** The next place for a tensor from here on. */
export function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
