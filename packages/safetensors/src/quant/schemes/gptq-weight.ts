import { toFloat32 } from "../../dtype/decode.ts";
import { quote, SafetensorsError } from "../../errors.ts";
import type { KMajorCall } from "../kernels/call.ts";
import type { Part, PartData, QuantizedWeight, Restated } from "../weight.ts";
import { IN, OUT, weightName } from "./gptq-parts.ts";
import type { GptqShape } from "./gptq-shape.ts";
import { joinPlanes, unpackRows, wordsOf } from "./gptq-words.ts";
import { along, partOf } from "./pieces.ts";

/**
 * The weight of a module: `W[n, k] = scales[G, n] * (q[k, n] - z[G, n])`, where `G` is `g_idx[k]` or, without it,
 * `k // group`. Frantar et al., GPTQ (2023); the layout is that of AutoGPTQ and GPTQModel.
 *
 * @param zerosLessOne whether zeros are stored less one (`gptq`), or as they are (`gptq_v2`, `gptq_p`)
 */
export function gptqWeight(module: string, shape: GptqShape, zerosLessOne: boolean): QuantizedWeight {
  const { rows, columns, bits, group, groups, actOrder, groupIndex } = shape;
  const notes = [zerosLessOne ? "zeros less one" : "zeros as they are"];
  if (actOrder) notes.push("groups by g_idx");
  if (shape.isPlanar) notes.push("codes in planes");
  const name = weightName(module);
  // All groups stay in every piece if they are not of neighbours, or if there is only one.
  const areGroupsWhole = actOrder || groups === 1;
  return {
    name,
    scheme: "gptq",
    shape: [rows, columns],
    bits,
    group: [group],
    symmetric: shape.symmetric ?? false,
    notes,
    dense: shape.dense,
    parts: partsOf(shape, areGroupsWhole),
    ...(groupIndex && !actOrder && { restate: ([, part]) => restated(part!, columns, group) }),
    decode: (parts, [n, k]) => decode(name, shape, zerosLessOne, parts, n!, k!),
  };
}

function partsOf(shape: GptqShape, areGroupsWhole: boolean): Part[] {
  const { bits, isPlanar, actOrder, group, codes, zeros, scales, groupIndex } = shape;
  // As few codes as are whole words: 3 words for 32 codes of 3 bits, 3 for 16 of 6, 1 for 8 of 4.
  const every = isPlanar ? 32 : 32 / (bits & -bits);
  const takes = (every * bits) / 32;
  const byGroup = areGroupsWhole ? null : along(IN, group);
  const parts = [
    partOf("qweight", codes, [along(IN, every, takes), along(OUT)]),
    partOf("qzeros", zeros, [byGroup, along(OUT, every, takes)]),
    partOf("scales", scales, [byGroup, along(OUT)]),
  ];
  // Numbers of groups of neighbours are written anew for a piece.
  if (groupIndex) parts.push(partOf("g_idx", groupIndex, [actOrder ? along(IN) : null]));
  return parts;
}

/** `g_idx` of a piece that has not all inputs. */
function restated(part: number, columns: number, group: number): Restated[] {
  if (part === columns) return [];
  const index = Int32Array.from({ length: part }, (_, k) => Math.floor(k / group));
  return [{ role: "g_idx", data: { dtype: "I32", shape: [part], bytes: new Uint8Array(index.buffer) } }];
}

function decode(
  name: string,
  { bits, isPlanar, group }: GptqShape,
  zerosLessOne: boolean,
  parts: ReadonlyMap<string, PartData>,
  rows: number,
  columns: number,
): KMajorCall {
  const [codes, zeros, scales] = ["qweight", "qzeros", "scales"].map((role) => parts.get(role)!) as [
    PartData,
    PartData,
    PartData,
  ];
  const groups = scales.shape[0]!;
  const stored = wordsOf(codes.bytes);
  return {
    kernel: "k-major",
    rows,
    columns,
    bits,
    words: isPlanar ? joinPlanes(stored, bits, rows) : stored,
    scales: toFloat32(scales.dtype, scales.bytes, groups * rows),
    zeros: zerosOf(zeros, groups, rows, bits, isPlanar, zerosLessOne),
    groups: groupsOf(name, parts.get("g_idx"), columns, group, groups),
  };
}

/** A zero that is stored less one and has only ones becomes 0: AutoGPTQ and GPTQModel mask it. */
function zerosOf(
  { bytes }: PartData,
  groups: number,
  rows: number,
  bits: number,
  isPlanar: boolean,
  zerosLessOne: boolean,
): Uint8Array {
  const stored = wordsOf(bytes);
  const zeros = unpackRows(isPlanar ? joinPlanes(stored, bits, 1) : stored, groups, rows, bits);
  if (zerosLessOne) for (let i = 0; i < zeros.length; i++) zeros[i] = (zeros[i]! + 1) & (2 ** bits - 1);
  return zeros;
}

function groupsOf(
  name: string,
  stored: PartData | undefined,
  columns: number,
  group: number,
  groups: number,
): Int32Array | number {
  if (columns === 0) return new Int32Array(0);
  if (!stored) return groups === 1 ? columns : group;
  const index = new Int32Array(new Uint8Array(stored.bytes).buffer);
  let areNeighbours = groups === Math.ceil(columns / group);
  for (let k = 0; k < columns; k++) {
    const at = index[k]!;
    if (!(at >= 0 && at < groups)) {
      const text = `g_idx of ${quote(name)} says group ${at} for input ${k}, there are ${groups} groups`;
      throw new SafetensorsError("INVALID_TENSOR", text, { tensor: name });
    }
    if (at !== Math.floor(k / group)) areNeighbours = false;
  }
  return areNeighbours ? group : index;
}
