import { DTYPE_ORDER } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import type { TensorTable } from "./tensor-table.ts";

/** Dimensions that an error shows. */
const SHOWN_DIMENSIONS = 16;

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
  let last = -1;
  for (const row of order) {
    const problem = offsetsProblem(begin[row]!, end[row]!, covered) ?? sizeProblem(table, row);
    if (problem) {
      const tensor = table.name(row);
      const after = problem.code === "INVALID_OFFSETS" && last >= 0 ? ` (${quote(table.name(last))})` : "";
      report(
        new SafetensorsError(problem.code, `tensor ${quote(tensor)} ${problem.text}${after}`, { tensor }),
      );
    }
    if (end[row]! >= covered) {
      covered = end[row]!;
      last = row;
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

function sizeProblem(table: TensorTable, row: number): Problem | undefined {
  const needed = table.byteSize[row]!;
  const held = table.end[row]! - table.begin[row]!;
  if (needed === held) return undefined;
  const dtype = DTYPE_ORDER[table.dtype[row]!];
  const dimensions = table.shape(row, SHOWN_DIMENSIONS + 1);
  const more = dimensions.length > SHOWN_DIMENSIONS ? ", …" : "";
  const shape = `${dtype} of shape [${dimensions.slice(0, SHOWN_DIMENSIONS).join(", ")}${more}]`;
  if (needed === Number.POSITIVE_INFINITY)
    return { code: "SIZE_OVERFLOW", text: `is ${shape}, beyond 64 bits of size` };
  if (!Number.isInteger(needed))
    return { code: "MISALIGNED", text: `is ${shape}, which does not end on a whole byte` };
  return {
    code: "SIZE_MISMATCH",
    text: `is ${shape}, which takes ${needed} bytes, but its data_offsets span ${held}`,
  };
}
