import { SafetensorsError } from "../errors.ts";

/** `start:stop:step` as in Python: missing parts mean what they mean there, negative ones count from the end. */
export interface Range {
  readonly start?: number | null | undefined;
  readonly stop?: number | null | undefined;
  readonly step?: number | null | undefined;
}

/**
 * One item of an index, with NumPy's meaning: an integer picks an index and drops the axis, a range keeps it, `null`
 * takes it whole, `"..."` takes all axes that are left, `"newaxis"` adds one of size 1, a list picks several indices, a
 * mask (true or false for each index of the axis) those where it is true.
 */
export type IndexItem = number | null | Range | "..." | "newaxis" | readonly number[] | readonly boolean[];

/** A range for `slice`: `range(2, 10)`, `range(null, null, -1)`. */
export function range(start?: number | null, stop?: number | null, step?: number | null): Range {
  return { start, stop, step };
}

/** What an index does to one axis of the tensor, or that it adds one. Every number is checked and within the axis. */
export type Selection =
  | { readonly kind: "pick"; readonly axis: number; readonly index: number }
  | {
      readonly kind: "range";
      readonly axis: number;
      readonly start: number;
      readonly count: number;
      readonly step: number;
    }
  | { readonly kind: "list"; readonly axis: number; readonly indices: readonly number[] }
  | { readonly kind: "new" };

/**
 * What the items do to the axes of a tensor of this shape, in order; axes without an item are taken whole.
 *
 * @throws `INVALID_SLICE` for too many items, a second ellipsis, a step of zero, what is not an integer;
 *   `OUT_OF_RANGE` for an index outside its axis
 */
export function resolveIndex(shape: readonly number[], items: readonly IndexItem[]): Selection[] {
  const used = items.filter((item) => item !== "..." && item !== "newaxis").length;
  const ellipses = items.filter((item) => item === "...").length;
  if (ellipses > 1) throw invalid('an index can have one "..." only');
  if (used > shape.length) throw invalid(`${used} items index a tensor of ${shape.length} dimensions`);
  const complete = ellipses === 1 ? items : [...items, "..." as const];

  const selections: Selection[] = [];
  let axis = 0;
  for (const item of complete) {
    if (item === "newaxis") {
      selections.push({ kind: "new" });
    } else if (item === "...") {
      for (let left = shape.length - used; left > 0; left--) selections.push(whole(axis, shape[axis++]!));
    } else {
      selections.push(resolveItem(item, axis, shape[axis]!));
      axis++;
    }
  }
  return selections;
}

function whole(axis: number, size: number): Selection {
  return { kind: "range", axis, start: 0, count: size, step: 1 };
}

type AxisItem = Exclude<IndexItem, string>;

function resolveItem(item: AxisItem, axis: number, size: number): Selection {
  if (item === null) return whole(axis, size);
  if (typeof item === "number") return { kind: "pick", axis, index: resolveInteger(item, axis, size) };
  if (isList(item)) {
    const indices = isMask(item) ? indicesOf(item, axis, size) : item;
    return { kind: "list", axis, indices: indices.map((index) => resolveInteger(index, axis, size)) };
  }
  return { kind: "range", axis, ...resolveRange(item, size) };
}

/** `Array.isArray` does not narrow readonly arrays. */
function isList(item: AxisItem): item is readonly number[] | readonly boolean[] {
  return Array.isArray(item);
}

function isMask(list: readonly number[] | readonly boolean[]): list is readonly boolean[] {
  return typeof list[0] === "boolean";
}

function indicesOf(mask: readonly boolean[], axis: number, size: number): number[] {
  if (mask.length !== size) {
    const text = `a mask of ${mask.length} cannot choose from dimension ${axis}, which has size ${size}`;
    throw new SafetensorsError("OUT_OF_RANGE", text);
  }
  return mask.flatMap((isChosen, index) => {
    if (typeof isChosen !== "boolean") throw invalid("a mask has only true and false");
    return isChosen ? [index] : [];
  });
}

function resolveInteger(index: number, axis: number, size: number): number {
  checkInteger(index);
  const resolved = index < 0 ? index + size : index;
  if (resolved >= 0 && resolved < size) return resolved;
  throw new SafetensorsError(
    "OUT_OF_RANGE",
    `index ${index} is outside dimension ${axis}, which has size ${size}`,
  );
}

/** Python's `slice.indices`: never an error for bounds outside, these are moved to the nearest end. */
function resolveRange(item: Range, size: number): { start: number; count: number; step: number } {
  const step = item.step ?? 1;
  checkInteger(step);
  if (step === 0) throw invalid("the step of a range cannot be zero");
  const [lowest, highest] = step > 0 ? [0, size] : [-1, size - 1];
  const clamp = (bound: number | null | undefined, missing: number): number => {
    if (bound === null || bound === undefined) return missing;
    checkInteger(bound);
    return Math.min(Math.max(bound < 0 ? bound + size : bound, lowest), highest);
  };
  const start = clamp(item.start, step > 0 ? lowest : highest);
  const stop = clamp(item.stop, step > 0 ? highest : lowest);
  const count = Math.max(0, Math.ceil((stop - start) / step));
  return { start: count === 0 ? 0 : start, count, step };
}

function checkInteger(value: number): void {
  if (!Number.isSafeInteger(value)) throw invalid(`${value} is not an integer`);
}

function invalid(problem: string): SafetensorsError {
  return new SafetensorsError("INVALID_SLICE", problem);
}
