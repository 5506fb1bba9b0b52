import type { Finder, ModuleTensors, Scheme } from "../scheme.ts";
import type { AxisLink, PartData, QuantizedWeight, Restated } from "../weight.ts";
import { unpackHqq } from "./hqq-codes.ts";
import { HQQ_SETTINGS, type HqqMeta, hqqMeta } from "./hqq-meta.ts";
import { along, floatsIn, partOf, shown } from "./pieces.ts";
import { byteTable, ownBytes, valuesOf } from "./scales.ts";

/**
 * HQQ: `W_q` with packed codes, `scale` and `zero` with one float a group, and the settings as small tensors.
 *
 * The codes are a matrix, the weight in another form: with `axis` 1 each row is a group, with `axis` 0 each column.
 * `w = (q - zero) * scale`. HQQ computes it in the dtype of scale: in 16 bits it rounds `q - zero`, too, so that its
 * values can be off by that rounding times the scale; here only the end is rounded.
 */
export const HQQ: Scheme = {
  name: "hqq",
  claims: ({ method }) => method === "hqq",
  async find(finder) {
    for (const [module, tensors] of finder.modules())
      if (tensors.has("W_q")) await findWeight(finder, module, tensors);
  },
};

async function findWeight(finder: Finder, module: string, tensors: ModuleTensors): Promise<void> {
  const name = `${module}.weight`;
  const codes = tensors.get("W_q")!;
  const [scale, zero] = [tensors.get("scale"), tensors.get("zero")];
  const meta = await hqqMeta(finder, tensors);
  if (typeof meta === "string") {
    finder.problem(name, `${meta}; the layer is left as it is`);
    return;
  }
  const { packing, groupSize, axis, shape } = meta;
  const count = shape[0]! * shape[1]!;
  const groups = count / groupSize;
  const [rows, columns] = axis === 1 ? [groups, groupSize] : [groupSize, groups];
  const isWhole = packing.bits === 3 || rows % packing.parts === 0;
  const packedBytes = Math.ceil(rows / packing.parts) * columns * packing.bytes;
  if (!Number.isInteger(groups) || !isWhole || codes.byteLength !== packedBytes) {
    const expected = `${packedBytes} bytes for [${shape}] in groups of ${groupSize} along axis ${axis}, ${packing.bits} bits`;
    finder.problem(name, `W_q is ${shown(codes)}, expected ${expected}; the layer is left as it is`);
    return;
  }
  if (!scale || !zero || ![scale, zero].every((one) => floatsIn(one) && one.length === groups)) {
    const there = [scale, zero].map(shown).join(" and ");
    finder.problem(name, `scale and zero are ${there}, expected ${groups} floats each; it is left as it is`);
    return;
  }
  const links = rowLinks(meta, groups, codes.shape);
  const stated = links && tensors.get("shape");
  const besides = HQQ_SETTINGS.flatMap((last) => {
    const tensor = tensors.get(last);
    return tensor && tensor !== stated ? [tensor.name] : [];
  });
  finder.add({
    name,
    scheme: "hqq",
    shape,
    bits: packing.bits,
    group: [groupSize],
    symmetric: false,
    notes: [`axis ${axis}`],
    dense: meta.dtype ?? floatsIn(scale) ?? "F16",
    parts: [
      partOf("W_q", codes, links?.(codes.shape) ?? codes.shape.map(() => null)),
      partOf("scale", scale, links?.(scale.shape) ?? scale.shape.map(() => null)),
      partOf("zero", zero, links?.(zero.shape) ?? zero.shape.map(() => null)),
      ...(stated ? [partOf("shape", stated, [null])] : []),
    ],
    besides,
    ...(links
      ? { restate: (piece: readonly number[]) => restated(piece) }
      : { indivisible: "its bytes hold rows that are far from each other" }),
    decode: (parts, piece) => call(meta, parts, piece),
  });
}

/**
 * How a part follows the rows of the weight, if it does: bytes of one code, in groups that are runs of a row.
 */
function rowLinks(
  { packing, axis, shape, groupSize }: HqqMeta,
  groups: number,
  packed: readonly number[],
): ((shape: readonly number[]) => (AxisLink | null)[]) | undefined {
  const [rows = 0, columns = 0] = shape;
  const perRow = columns / groupSize;
  const isByRows = packing.parts === 1 && axis === 1 && Number.isInteger(perRow);
  if (!isByRows || packed.length !== 2 || packed[0] !== groups || rows === 0) return undefined;
  return (part) => {
    if (part[0] !== groups) return part.map(() => null);
    return [along(0, 1, perRow), ...part.slice(1).map((size) => along(1, columns, size))];
  };
}

function restated(shape: readonly number[]): readonly Restated[] {
  const sizes = BigInt64Array.from(shape, BigInt);
  return [
    { role: "shape", data: { dtype: "I64", shape: [shape.length], bytes: new Uint8Array(sizes.buffer) } },
  ];
}

function call(
  { packing, axis, groupSize }: HqqMeta,
  parts: ReadonlyMap<string, PartData>,
  shape: readonly number[],
): ReturnType<QuantizedWeight["decode"]> {
  const groups = shape.reduce((product, size) => product * size, 1) / groupSize;
  const [rows, columns] = axis === 1 ? [groups, groupSize] : [groupSize, groups];
  return {
    kernel: "scaled-bytes",
    rows,
    columns,
    codes: unpackHqq(ownBytes(parts.get("W_q")!), packing, rows, columns),
    table: byteTable("U8"),
    scales: valuesOf(parts.get("scale")!),
    zeros: valuesOf(parts.get("zero")!),
    blockRows: axis === 1 ? 1 : groupSize,
    blockColumns: axis === 1 ? groupSize : 1,
  };
}
