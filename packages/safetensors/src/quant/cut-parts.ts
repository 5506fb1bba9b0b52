import { quote, SafetensorsError } from "../errors.ts";
import { type AxisCut, type Cut, type CutRange, cutShape } from "../view/cut.ts";
import { greatestCommonDivisor } from "./schemes/pieces.ts";
import type { AxisLink, Part, PartData, QuantizedWeight } from "./weight.ts";

/** What a piece of a weight has of one stored tensor: a part of it, or other bytes in its place. */
export interface PartCut {
  readonly part: Part;
  readonly cut: Cut;
  readonly restated?: PartData;
}

/** What a piece of a quantised weight has of each of its stored tensors. */
export interface WeightCut {
  readonly shape: readonly number[];
  readonly parts: readonly PartCut[];
}

/**
 * Cuts the stored tensors of a weight so that together they are a part of it, in the same scheme.
 *
 * @param cut of the weight, in the order of its stored axes; see `cutOfDense`
 * @throws `INVALID_SLICE` if the cut does not lie on the limits of words, groups and blocks: it says which tensor forbids
 *   it, and what the limits are multiples of
 */
export function cutParts(weight: QuantizedWeight, cut: Cut): WeightCut {
  const shape = cutShape(weight.shape, cut);
  if (weight.indivisible !== undefined && !isWhole(weight.shape, cut))
    throw misfit(weight, weight.indivisible);
  const restated = new Map(weight.restate?.(shape).map(({ role, data }) => [role, data]));
  const parts = weight.parts.map((part): PartCut => {
    const data = restated.get(part.role);
    return { part, cut: cutOfPart(weight, part, cut), ...(data && { restated: data }) };
  });
  return { shape, parts };
}

/**
 * The same for a piece that is to be a checkpoint of its own: then what the metadata state of the weight must hold for the
 * piece as well.
 *
 * @throws as `cutParts`
 */
export function cutPartsToStore(weight: QuantizedWeight, cut: Cut): WeightCut {
  for (const [axis, size] of weight.stated?.entries() ?? []) {
    const asked = cut.find((one) => one.axis === axis);
    const place = asked?.ranges.flatMap(({ start, stop }) => [start, stop]).find((at) => at % size !== 0);
    if (place === undefined) continue;
    const text = `a cut at ${place} of axis ${axis} is not at a multiple of ${size}, which the metadata state`;
    throw misfit(weight, text);
  }
  return cutParts(weight, cut);
}

/** Shape of the dense form of a weight. */
export function denseShape({
  shape,
  transposed,
}: Pick<QuantizedWeight, "shape" | "transposed">): readonly number[] {
  return transposed ? [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!] : shape;
}

/** The cut of a weight, in the order of its stored axes, for one of its dense form. */
export function cutOfDense(
  { shape, transposed }: Pick<QuantizedWeight, "shape" | "transposed">,
  cut: Cut,
): Cut {
  const last = shape.length - 1;
  return transposed
    ? cut.map((one) => (one.axis < last - 1 ? one : { ...one, axis: 2 * last - 1 - one.axis }))
    : cut;
}

/**
 * For each axis of a weight, what the limits of its pieces must be multiples of. (The end of the axis is a limit always.)
 */
export function grainOf({ shape, parts }: Pick<QuantizedWeight, "shape" | "parts">): number[] {
  return shape.map((_, axis) => {
    const links = parts.flatMap((part) => part.links.filter((link) => link?.axis === axis) as AxisLink[]);
    return links.reduce((grain, { every }) => leastCommonMultiple(grain, every), 1);
  });
}

function cutOfPart(weight: QuantizedWeight, part: Part, cut: Cut): Cut {
  const cuts: AxisCut[] = [];
  for (const [axis, link] of part.links.entries()) {
    const asked = link && cut.find((one) => one.axis === link.axis);
    if (!link || !asked) continue;
    if (asked.padding) throw misfit(weight, "a quantised weight is not padded");
    const size = weight.shape[link.axis]!;
    const isRagged = size % link.every !== 0 && asked.ranges.slice(0, -1).some(({ stop }) => stop === size);
    if (isRagged) throw misfit(weight, `nothing can follow the ragged end of axis ${link.axis}`, part.name);
    const length = part.shape[axis]!;
    cuts.push({ axis, ranges: asked.ranges.map((range) => follow(weight, part, link, size, length, range)) });
  }
  return cuts;
}

/** The indices of a stored axis for those of the weight. */
function follow(
  weight: QuantizedWeight,
  part: Part,
  { axis, every, takes }: AxisLink,
  size: number,
  length: number,
  range: CutRange,
): CutRange {
  const { start, stop, step = 1 } = range;
  if (every === 1 && takes === 1) return range;
  const isOnGrain = (at: number): boolean => at === size || at % every === 0;
  if (step !== 1 || !isOnGrain(start) || !isOnGrain(stop)) {
    const shown = `${start}:${stop}${step === 1 ? "" : `:${step}`} of axis ${axis}`;
    const rule = `${quote(part.name)} of shape [${part.shape}] has ${takes} for every ${every}`;
    throw misfit(weight, `${shown} does not lie on multiples of ${every}: ${rule}`, part.name);
  }
  const place = (at: number): number => (at === size ? length : (at / every) * takes);
  return { start: place(start), stop: place(stop) };
}

function isWhole(shape: readonly number[], cut: Cut): boolean {
  return cut.every(({ axis, ranges: [range, ...more], padding = 0 }) => {
    const { start, stop, step = 1 } = range ?? { start: 0, stop: 0 };
    return more.length === 0 && padding === 0 && start === 0 && stop === shape[axis] && step === 1;
  });
}

function misfit(weight: QuantizedWeight, text: string, tensor = weight.name): SafetensorsError {
  const what = `${quote(weight.name)} (${weight.scheme}, [${weight.shape}])`;
  return new SafetensorsError("INVALID_SLICE", `${what}: ${text}`, { tensor });
}

function leastCommonMultiple(a: number, b: number): number {
  return (a / greatestCommonDivisor(a, b)) * b;
}
