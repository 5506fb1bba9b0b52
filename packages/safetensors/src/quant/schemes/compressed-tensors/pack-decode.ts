import { asTypedArray } from "../../../dtype/typed-array.ts";
import type { PackedRowsCall } from "../../kernels/call.ts";
import type { PartData } from "../../weight.ts";
import { ownBytes, scalesOf, valuesOf } from "../scales.ts";
import { type Packing, unpackDown } from "./packing.ts";

/** What is stored of the zero points. */
export type Zeros =
  | { readonly kind: "none" }
  | { readonly kind: "packed"; readonly packing: Packing }
  | { readonly kind: "bytes" };

/** What decoding needs to know. */
export interface PackedLayout {
  readonly packing: Packing;
  readonly zeros: Zeros;
  /** Columns that share a scale, in the whole weight. */
  readonly group: number;
  readonly isOneScale: boolean;
}

/**
 * The work for a piece of `pack-quantized`: `(code - zero) * scale`, where codes and zero points are both stored with
 * `2^(bits - 1)` added.
 */
export function codesCall(
  data: ReadonlyMap<string, PartData>,
  [rows = 0, columns = 0]: readonly number[],
  layout: PackedLayout,
): PackedRowsCall {
  const { bits, perWord } = layout.packing;
  const stored = scalesOf(data.get("scale")!);
  const scales = layout.isOneScale ? new Float32Array(rows).fill(stored[0]!) : stored;
  return {
    kernel: "packed-rows",
    rows,
    columns,
    bits,
    words: wordsOf(data.get("packed")!),
    ...(perWord !== undefined && { perWord }),
    scales,
    zeros: zerosOf(data.get("zeros"), rows, scales.length, layout),
    groups: groupsOf(data.get("order")) ?? Math.max(1, Math.min(layout.group, columns)),
  };
}

function zerosOf(
  zeros: PartData | undefined,
  rows: number,
  count: number,
  { packing, zeros: how, isOneScale }: PackedLayout,
): Float32Array | number {
  const offset = 2 ** (packing.bits - 1);
  if (!zeros || how.kind === "none") return offset;
  if (how.kind === "packed") return unpackDown(wordsOf(zeros), rows, zeros.shape[1]!, how.packing);
  const values = valuesOf(zeros);
  for (let i = 0; i < values.length; i++) values[i] = values[i]! + offset;
  return isOneScale ? new Float32Array(count).fill(values[0]!) : values;
}

/** The group of each column; nothing if there is a -1, which compressed-tensors takes for an order that was never set. */
function groupsOf(order: PartData | undefined): Int32Array | undefined {
  const groups = order && new Int32Array(wordsOf(order).buffer);
  return groups?.includes(-1) ? undefined : groups;
}

function wordsOf(part: PartData): Uint32Array {
  const bytes = ownBytes(part);
  return asTypedArray("U32", bytes, bytes.byteLength / 4);
}
