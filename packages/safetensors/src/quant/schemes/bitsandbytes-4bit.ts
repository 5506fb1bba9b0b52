import type { TensorHandle } from "../../checkpoint/tensor.ts";
import { elementCount } from "../../dtype/dtype.ts";
import type { Fields } from "../config.ts";
import type { KernelCall } from "../kernels/call.ts";
import type { Finder } from "../scheme.ts";
import type { AxisLink, Part, PartData, Restated } from "../weight.ts";
import { type State4Bit, stateOf } from "./bitsandbytes-state.ts";
import { along, alongRuns, partOf, shown } from "./pieces.ts";
import { ownBytes, valuesOf } from "./scales.ts";
import { statedFields } from "./stated-json.ts";

/**
 * NF4 and FP4. The weight is flat: two elements a byte, the upper half first, in tensors of any dtype
 * (`bnb_4bit_quant_storage`); blocks of `blocksize` elements go over the ends of rows. Beside it lie `weight.absmax`,
 * `weight.quant_map` (what the 16 codes are), and `weight.quant_state.bitsandbytes__nf4`, bytes of JSON that state
 * blocksize, dtype and shape. `w = quant_map[code] * absmax[block]`, each in float32, rounded to the dtype.
 *
 * With double quantisation `absmax` are codes, too:
 * `absmax = nested_quant_map[code] * nested_absmax[block of 256] + nested_offset`.
 */
export async function find4Bit(
  finder: Finder,
  name: string,
  type: "nf4" | "fp4",
  stated: TensorHandle,
): Promise<void> {
  const fields = await statedFields(finder, stated);
  if (!fields) return;
  const state = stateOf(fields, type);
  if (typeof state === "string") {
    finder.problem(stated.name, `${state}; the layer is left as it is`);
    return;
  }
  const { shape, blocksize, nested } = state;
  const count = elementCount(shape);
  const blocks = Math.ceil(count / blocksize);
  const get = (last: string, dtypes: readonly string[], length: number): TensorHandle | undefined => {
    const tensor = finder.tensor(`${name}.${last}`);
    if (tensor && dtypes.includes(tensor.dtype) && tensor.length === length && tensor.shape.length === 1)
      return tensor;
    finder.problem(
      `${name}.${last}`,
      `is ${shown(tensor)}, expected ${dtypes[0]} [${length}]; the layer is left as it is`,
    );
    return undefined;
  };
  const weight = finder.tensor(name);
  const flat = weight?.shape.indexOf(weight.length) ?? -1;
  if (weight?.shape.length !== 2 || weight.byteLength !== Math.ceil(count / 2) || flat < 0) {
    const expected = `[bytes,1] with ${Math.ceil(count / 2)} bytes for the stated shape [${shape}]`;
    finder.problem(name, `is ${shown(weight)}, expected ${expected}; the layer is left as it is`);
    return;
  }
  const absmax = get("absmax", nested ? ["U8"] : ["F32", "F16", "BF16"], blocks);
  const map = get("quant_map", ["F32"], 16);
  const superblocks = nested && Math.ceil(blocks / nested.blocksize);
  const nestedAbsmax = superblocks === undefined ? undefined : get("nested_absmax", ["F32"], superblocks);
  const nestedMap = nested && get("nested_quant_map", ["F32"], 256);
  if (!absmax || !map || (nested && !(nestedAbsmax && nestedMap))) return;

  // Rows follow each other in all that is flat; the other axis of the weight's tensor makes columns whole in each piece.
  const isMatrix = shape.length === 2;
  const runs = (unit: number): AxisLink | null => (isMatrix ? alongRuns(0, shape[1]!, unit) : null);
  const rest = isMatrix ? along(1, shape[1]!) : null;
  const perItem = (weight.byteLength / weight.length) * 2;
  const parts: Part[] = [
    partOf("weight", weight, flat === 0 ? [runs(perItem), rest] : [rest, runs(perItem)]),
    partOf("absmax", absmax, [runs(blocksize)]),
    partOf("quant_map", map, [null]),
    partOf("quant_state", stated, [null]),
  ];
  if (nested && nestedAbsmax && nestedMap) {
    parts.push(partOf("nested_absmax", nestedAbsmax, [runs(blocksize * nested.blocksize)]));
    parts.push(partOf("nested_quant_map", nestedMap, [null]));
  }
  finder.add({
    name,
    scheme: "bitsandbytes",
    shape,
    bits: 4,
    group: [blocksize],
    symmetric: true,
    notes: [type, ...(nested ? ["double quantised"] : [])],
    dense: state.dtype,
    parts,
    ...(!isMatrix && { indivisible: "its blocks go over the ends of axes, and it is no matrix" }),
    restate: (piece) => restated(fields, shape, piece),
    decode: (pieces, piece) => call(state, pieces, elementCount(piece)),
  });
}

/** The JSON with the shape of the piece; of the whole weight it stays as it is stored. */
function restated(fields: Fields, whole: readonly number[], shape: readonly number[]): readonly Restated[] {
  if (shape.every((size, axis) => size === whole[axis])) return [];
  const json = Object.fromEntries(new Map(fields).set("shape", shape));
  const bytes = new TextEncoder().encode(JSON.stringify(json));
  return [{ role: "quant_state", data: { dtype: "U8", shape: [bytes.length], bytes } }];
}

function call(state: State4Bit, parts: ReadonlyMap<string, PartData>, count: number): KernelCall {
  const bytes = ownBytes(parts.get("weight")!);
  const map = valuesOf(parts.get("quant_map")!);
  const scales = scalesOf(state, parts);
  const { blocksize } = state;
  if (count % 2 === 0) {
    const shape = { rows: 1, columns: count, block: blocksize } as const;
    return { kernel: "scaled-nibbles", ...shape, codes: bytes, highFirst: true, table: map, scales };
  }
  // Half of the last byte is no element.
  const codes = Uint8Array.from({ length: count }, (_, i) => (bytes[i >> 1]! >> (i % 2 ? 0 : 4)) & 15);
  const table = new Float32Array(256);
  table.set(map);
  return {
    kernel: "scaled-bytes",
    rows: 1,
    columns: count,
    codes,
    table,
    scales,
    blockRows: 1,
    blockColumns: blocksize,
  };
}

function scalesOf({ nested }: State4Bit, parts: ReadonlyMap<string, PartData>): Float32Array {
  const absmax = parts.get("absmax")!;
  if (!nested) return valuesOf(absmax);
  const map = valuesOf(parts.get("nested_quant_map")!);
  const largest = valuesOf(parts.get("nested_absmax")!);
  const { blocksize, offset } = nested;
  const codes = absmax.bytes;
  const scales = new Float32Array(codes.length);
  for (let block = 0; block < codes.length; block++)
    scales[block] = Math.fround(map[codes[block]!]! * largest[Math.floor(block / blocksize)]!) + offset;
  return scales;
}
