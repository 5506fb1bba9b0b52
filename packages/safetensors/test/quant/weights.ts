import type { TensorHandle } from "../../src/checkpoint/tensor.ts";
import { toFloat32 } from "../../src/dtype/decode.ts";
import type { AxisLink, PartData, QuantizedWeight } from "../../src/quant/weight.ts";
import { tensorOf } from "../parallel/tensors.ts";

const link = (axis: number, every = 1, takes = 1): AxisLink => ({ axis, every, takes });

/**
 * A weight of codes of 8 bits, a scale for each block, and a tensor that states the shape. Its codes lie in units of `unit`
 * inputs that are not taken apart.
 */
export function blockWeight(
  module: string,
  shape: readonly number[],
  block: readonly [number, number],
  extra: Partial<QuantizedWeight> = {},
): { weight: QuantizedWeight; tensors: TensorHandle[] } {
  const out = shape.length - 2;
  const grid = [
    ...shape.slice(0, -2),
    Math.ceil(shape[out]! / block[0]),
    Math.ceil(shape[out + 1]! / block[1]),
  ];
  const links = shape.map((_, axis) => link(axis));
  const before = links.slice(0, -2);
  const tensors = [
    tensorOf(`${module}.weight`, shape, "F8_E5M2", 3),
    tensorOf(`${module}.scales`, grid, "BF16", 4),
    tensorOf(`${module}.shape`, [shape.length], "I64", 5),
  ];
  const weight: QuantizedWeight = {
    name: `${module}.weight`,
    scheme: "blocks",
    shape,
    bits: 8,
    group: block,
    symmetric: true,
    notes: [],
    dense: "F32",
    parts: [
      { role: "weight", name: `${module}.weight`, dtype: "F8_E5M2", shape, links },
      {
        role: "scales",
        name: `${module}.scales`,
        dtype: "BF16",
        shape: grid,
        links: [...before, link(out, block[0]), link(out + 1, block[1])],
      },
      { role: "shape", name: `${module}.shape`, dtype: "I64", shape: [shape.length], links: [null] },
    ],
    restate: (shape) => [{ role: "shape", data: int64s(shape) }],
    decode: (parts, shape) => {
      const [codes, scales] = [parts.get("weight")!, parts.get("scales")!];
      const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
      return {
        kernel: "scaled-bytes",
        rows,
        columns: shape.at(-1)!,
        codes: codes.bytes,
        table: toFloat32(
          "F8_E5M2",
          Uint8Array.from({ length: 256 }, (_, code) => code),
          256,
        ),
        scales: toFloat32("BF16", scales.bytes, scales.bytes.length / 2),
        blockRows: block[0],
        blockColumns: block[1],
      };
    },
    ...extra,
  };
  return { weight, tensors };
}

function int64s(values: readonly number[]): PartData {
  const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  return { dtype: "I64", shape: [values.length], bytes };
}
