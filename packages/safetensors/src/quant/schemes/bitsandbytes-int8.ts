import { quote } from "../../errors.ts";
import type { Finder, ModuleTensors } from "../scheme.ts";
import { along, hasShape, partOf, shown } from "./pieces.ts";
import { byteTable, denseDtype, ownBytes, valuesOf } from "./scales.ts";

/** 1 / 127 as bitsandbytes writes it. */
const RECIPROCAL = 7.874015718698502e-3;

/**
 * LLM.int8: `weight` I8 `[rows, columns]` and `SCB` F32 `[rows]`, the largest magnitude of each row.
 * `w = q * (SCB / 127)`, where bitsandbytes rounds `(q * SCB) / 127` twice: they differ by at most two units in the last
 * place of float32, and are the same in 16 bits but for values next to a tie.
 */
export async function findInt8(finder: Finder, module: string, tensors: ModuleTensors): Promise<void> {
  const name = `${module}.weight`;
  const weight = tensors.get("weight");
  const scales = tensors.get("SCB")!;
  const format = tensors.get("weight_format");
  if (weight?.dtype !== "I8" || weight.shape.length !== 2 || scales.dtype !== "F32") {
    finder.problem(
      name,
      `is ${shown(weight)}, SCB is ${shown(scales)}, expected I8 and F32; it is left as it is`,
    );
    return;
  }
  const rows = weight.shape[0]!;
  if (!hasShape(scales, [rows])) {
    finder.problem(
      name,
      `is ${shown(weight)}, SCB is ${shown(scales)}, expected [${rows}]; it is left as it is`,
    );
    return;
  }
  if (format) {
    const [code] = format.byteLength === 1 ? await finder.small(format) : [];
    if (code !== 0) {
      const why = `${quote(format.name)} says that the rows are tiled for one kind of GPU: save the model anew with bitsandbytes 0.44 or later`;
      finder.refuse("bitsandbytes", why, [weight.name, scales.name, format.name]);
      return;
    }
  }
  finder.add({
    name,
    scheme: "bitsandbytes",
    shape: weight.shape,
    bits: 8,
    group: [weight.shape[1]!],
    symmetric: true,
    notes: ["int8"],
    dense: denseDtype(finder.config, "F16"),
    parts: [partOf("weight", weight, [along(0), along(1)]), partOf("SCB", scales, [along(0)])],
    ...(format && { besides: [format.name] }),
    decode(parts, [rows = 0, columns = 0]) {
      return {
        kernel: "scaled-bytes",
        rows,
        columns,
        codes: ownBytes(parts.get("weight")!),
        table: byteTable("I8"),
        scales: valuesOf(parts.get("SCB")!).map((largest) => largest * RECIPROCAL),
        blockRows: 1,
        blockColumns: Math.max(1, columns),
      };
    },
  });
}
