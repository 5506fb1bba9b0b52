import { DTYPE_ORDER } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { readShapeAt } from "./header-scanner.ts";
import type { TensorTable } from "./tensor-table.ts";

/**
 * Checks that the tensors cover the data without holes and overlaps and that each has the bytes its shape asks for.
 * Every error goes to `report`, which may throw.
 *
 * @returns the rows of the table in the order of their data.
 */
export function checkLayout(
  table: TensorTable,
  dataLength: number,
  report: (error: SafetensorsError) => void,
): Uint32Array {
  const order = orderOfData(table);
  const { begin, end } = table;
  let covered = 0;
  let last = "";
  for (const number of order) {
    const problem = offsetsProblem(begin[number]!, end[number]!, covered) ?? sizeProblem(table, number);
    if (problem) {
      const tensor = table.name(number);
      const after = problem.code === "INVALID_OFFSETS" && last ? `, after ${last}` : "";
      report(
        new SafetensorsError(problem.code, `tensor ${quote(tensor)} ${problem.text}${after}`, { tensor }),
      );
    }
    if (end[number]! >= covered) {
      covered = end[number]!;
      last = problem ? quote(table.name(number)) : "";
    }
  }
  if (covered > dataLength) {
    const missing = covered - dataLength;
    const text = `the file is ${missing} bytes too short: its header describes ${covered} bytes of data, there are ${dataLength}`;
    report(new SafetensorsError("TRUNCATED", text));
  } else if (covered < dataLength) {
    const text = `${dataLength - covered} bytes follow the last tensor, whose data ends at byte ${covered} of the data`;
    report(new SafetensorsError("TRAILING_BYTES", text));
  }
  return order;
}

/** Rows sorted by begin and end; files are nearly always written in that order. */
function orderOfData(table: TensorTable): Uint32Array {
  const { begin, end } = table;
  const rows = table.rows();
  const compare = (a: number, b: number): number => begin[a]! - begin[b]! || end[a]! - end[b]!;
  for (let i = 1; i < rows.length; i++) if (compare(rows[i - 1]!, rows[i]!) > 0) return rows.sort(compare);
  return rows;
}

interface Problem {
  readonly code: SafetensorsError["code"];
  readonly text: string;
}

function offsetsProblem(begin: number, end: number, covered: number): Problem | undefined {
  if (begin === covered && end >= begin) return undefined;
  const fault =
    end < begin
      ? "ends before it begins"
      : begin < covered
        ? `overlaps the data before it, which ends at ${covered}`
        : `leaves a hole: the data before it ends at ${covered}`;
  return { code: "INVALID_OFFSETS", text: `at data_offsets [${begin}, ${end}] ${fault}` };
}

function sizeProblem(table: TensorTable, number: number): Problem | undefined {
  const needed = table.byteSize[number]!;
  const held = table.end[number]! - table.begin[number]!;
  if (needed === held) return undefined;
  const dtype = DTYPE_ORDER[table.dtype[number]!];
  const shape = `${dtype} of shape [${readShapeAt(table.json, table.shapeAt[number]!).join(", ")}]`;
  if (needed === Number.POSITIVE_INFINITY)
    return { code: "SIZE_OVERFLOW", text: `is ${shape}, beyond 64 bits of size` };
  if (!Number.isInteger(needed))
    return { code: "MISALIGNED", text: `is ${shape}, which does not end on a whole byte` };
  return {
    code: "SIZE_MISMATCH",
    text: `is ${shape}, which takes ${needed} bytes, but its data_offsets span ${held}`,
  };
}
