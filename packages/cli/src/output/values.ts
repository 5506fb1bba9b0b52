/** A number in six digits that count, as short as it can be. */
export function formatValue(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const text = value.toPrecision(6);
  if (!text.includes("e")) return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return value.toExponential(5).replace(/\.?0+e/, "e");
}

/** Items of an axis that are shown at each end where the whole would be too long. */
const EDGE = 3;

/**
 * An array in nested brackets, as NumPy prints it; where it has more than `most` elements, only the ends of each axis.
 *
 * @param cell text of the element at a place in row-major order.
 */
export function* formatArray(
  shape: readonly number[],
  cell: (place: number) => string,
  most: number,
): Generator<string, void, undefined> {
  const count = shape.reduce((product, size) => product * size, 1);
  const cut = count > most;
  const indexes = (size: number): number[] => {
    if (!cut || size <= 2 * EDGE) return Array.from({ length: size }, (_, i) => i);
    return [0, 1, 2, -1, size - 3, size - 2, size - 1];
  };
  const last = shape.length - 1;
  const row = (place: number): string => {
    const cells = indexes(shape[last]!).map((i) => (i < 0 ? "…" : cell(place + i)));
    return `[${cells.join(", ")}]`;
  };
  function* block(
    axis: number,
    place: number,
    indent: string,
    end: string,
  ): Generator<string, void, undefined> {
    if (axis === last) return yield `${indent}${row(place)}${end}`;
    const step = shape.slice(axis + 1).reduce((product, size) => product * size, 1);
    yield `${indent}[`;
    const shown = indexes(shape[axis]!);
    for (const [position, i] of shown.entries()) {
      const comma = position < shown.length - 1 ? "," : "";
      if (i < 0) yield `${indent}  …${comma}`;
      else yield* block(axis + 1, place + i * step, `${indent}  `, comma);
    }
    yield `${indent}]${end}`;
  }
  if (shape.length === 0) yield cell(0);
  else yield* block(0, 0, "", "");
}
