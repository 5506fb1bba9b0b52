import type { TensorHandle } from "../../checkpoint/tensor.ts";
import type { FloatDtype } from "../../dtype/cast.ts";
import type { Finder, Scheme } from "../scheme.ts";
import { along, floatsIn, partOf, shown } from "./pieces.ts";
import { denseDtype, valuesOf } from "./scales.ts";

/** Codes of a byte. */
const PER_BYTE = 4;

/**
 * BitNet b1.58 as transformers has it: `weight` U8 `[rows / 4, columns]`, where bits `2 p` and `2 p + 1` of row `i` are
 * the code of row `i + p * rows / 4`, and one `weight_scale`. `w = (code - 1) / weight_scale`, or times it where config.json
 * says `linear_class: autobitlinear`.
 */
export const BITNET: Scheme = {
  name: "bitnet",
  claims: ({ method }) => method === "bitnet",
  find(finder) {
    if (!finder.config || !BITNET.claims(finder.config)) return;
    const multiplies = finder.config.fields.get("linear_class") === "autobitlinear";
    for (const [, tensors] of finder.modules()) {
      const [weight, scale] = [tensors.get("weight"), tensors.get("weight_scale")];
      if (weight?.dtype === "U8") findWeight(finder, weight, scale, multiplies);
    }
  },
};

function findWeight(
  finder: Finder,
  weight: TensorHandle,
  scale: TensorHandle | undefined,
  multiplies: boolean,
): void {
  if (weight.shape.length !== 2 || !scale || !floatsIn(scale) || scale.length !== 1) {
    const there = `is ${shown(weight)}, weight_scale ${shown(scale)}`;
    finder.problem(
      weight.name,
      `${there}, expected U8 [rows / 4, columns] and one float; it is left as it is`,
    );
    return;
  }
  const [packedRows = 0, columns = 0] = weight.shape;
  const rows = packedRows * PER_BYTE;
  const dense: FloatDtype = denseDtype(finder.config, scale.dtype);
  finder.add({
    name: weight.name,
    scheme: "bitnet",
    shape: [rows, columns],
    bits: 2,
    group: [rows, columns],
    symmetric: true,
    notes: ["ternary", multiplies ? "times weight_scale" : "divided by weight_scale"],
    dense,
    parts: [
      // Quarters of the rows share their bytes, so that only columns can be cut.
      partOf("weight", weight, [along(0, Math.max(1, rows), packedRows), along(1)]),
      partOf(
        "weight_scale",
        scale,
        scale.shape.map(() => null),
      ),
    ],
    decode(parts, [pieceRows = 0, pieceColumns = 0]) {
      const [value = 0] = valuesOf(parts.get("weight_scale")!);
      return {
        kernel: "scaled-bytes",
        rows: pieceRows,
        columns: pieceColumns,
        codes: unpack(parts.get("weight")!.bytes),
        table: Float32Array.from({ length: 256 }, (_, code) => code - 1),
        // A quotient of -1, 0 or 1 is the reciprocal, rounded once, or its opposite.
        scales: new Float32Array(pieceRows * pieceColumns > 0 ? 1 : 0).fill(multiplies ? value : 1 / value),
        blockRows: Math.max(1, pieceRows),
        blockColumns: Math.max(1, pieceColumns),
      };
    },
  });
}

/** The codes, one a byte. */
function unpack(packed: Uint8Array): Uint8Array {
  const codes = new Uint8Array(PER_BYTE * packed.length);
  for (let part = 0; part < PER_BYTE; part++)
    for (let i = 0; i < packed.length; i++) codes[part * packed.length + i] = (packed[i]! >> (2 * part)) & 3;
  return codes;
}
