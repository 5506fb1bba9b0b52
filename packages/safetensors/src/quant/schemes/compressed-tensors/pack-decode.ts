import { quote, SafetensorsError } from "../../../errors.ts";
import type { PackedRowsCall } from "../../kernels/call.ts";
import type { PartData } from "../../weight.ts";
import { wordsOf } from "../gptq-words.ts";
import { scalesOf, valuesOf } from "../scales.ts";
import { type Packing, unpackDown } from "./packing.ts";

/** What is stored of the zero points. */
export type Zeros =
  | { readonly kind: "none" }
  | { readonly kind: "packed"; readonly packing: Packing }
  | { readonly kind: "bytes" };

/** What decoding needs to know. */
export interface PackedLayout {
  /** Of the dense weight, for errors. */
  readonly name: string;
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
    words: wordsOf(data.get("packed")!.bytes),
    ...(perWord !== undefined && { perWord }),
    scales,
    zeros: zerosOf(data.get("zeros"), rows, scales.length, layout),
    groups:
      groupsOf(layout.name, data.get("order"), scales.length / Math.max(1, rows)) ??
      Math.max(1, Math.min(layout.group, columns)),
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
  if (how.kind === "packed") return unpackDown(wordsOf(zeros.bytes), rows, zeros.shape[1]!, how.packing);
  const values = valuesOf(zeros);
  for (let i = 0; i < values.length; i++) values[i] = values[i]! + offset;
  return isOneScale ? new Float32Array(count).fill(values[0]!) : values;
}

/** The group of each column; nothing if there is a -1, which compressed-tensors takes for an order that was never set. */
function groupsOf(name: string, order: PartData | undefined, count: number): Int32Array | undefined {
  const groups = order && new Int32Array(wordsOf(order.bytes).buffer);
  if (!groups || groups.includes(-1)) return undefined;
  const column = groups.findIndex((group) => !(group >= 0 && group < count));
  if (column < 0) return groups;
  const text = `weight_g_idx of ${quote(name)} says group ${groups[column]} for column ${column}, there are ${count} groups`;
  throw new SafetensorsError("INVALID_TENSOR", text, { tensor: name });
}
