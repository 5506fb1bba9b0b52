import { quote, SafetensorsError } from "../errors.ts";
import { range } from "../view/index-items.ts";
import { sliceView } from "../view/slice.ts";
import { joinPieces, type TensorView } from "../view/tiling.ts";
import { type CutRule, patternFor } from "./cuts.ts";
import { commonType, type FilePart, mismatch, placedAt } from "./tile.ts";

/** Along which axis tensors were cut, and of how many matrices each consists. */
type AxisRule = Exclude<CutRule, "replicated">;

/**
 * Puts a tensor together from what each rank has of it, in the order of the ranks. The parts may have different sizes
 * along the axis.
 *
 * @throws `INDEX_MISMATCH` if they do not fit together; `INVALID_SLICE` for an axis that the tensor does not have
 */
export function joinAlong(name: string, parts: readonly FilePart[], rule: AxisRule): TensorView {
  const { axis: given, blocks } = typeof rule === "number" ? { axis: rule, blocks: 1 } : rule;
  const { dtype, rank } = commonType(name, parts);
  const axis = given < 0 ? given + rank : given;
  if (!(axis >= 0 && axis < rank)) {
    const text = `tensor ${quote(name)} of shape [${parts[0]!.view.shape}] has no axis ${given} to be cut along`;
    throw new SafetensorsError("INVALID_SLICE", text, { tensor: name });
  }
  checkOtherAxes(name, parts, axis);
  const ratios = typeof blocks === "number" ? new Array<number>(blocks).fill(1) : blocks;
  const cuts = parts.map((part) => blockEdges(name, part, axis, ratios));
  const { shape } = parts[0]!.view;
  let end = 0;
  const pieces = ratios.flatMap((_, block) =>
    parts.flatMap(({ view }, index) => {
      const [from, to] = [cuts[index]![block]!, cuts[index]![block + 1]!];
      const at = shape.map((_, i) => (i === axis ? end : 0));
      end += to - from;
      if (to === from) return [];
      const before = shape.slice(0, axis).map(() => null);
      return placedAt(ratios.length === 1 ? view : sliceView(view, [...before, range(from, to)]), at);
    }),
  );
  return joinPieces(dtype, shape.with(axis, end), pieces);
}

/** Checks that a tensor may be the same in all ranks: same dtype and shape. Without a rule, a difference asks for one. */
export function checkReplicated(name: string, parts: readonly FilePart[], isKnown: boolean): void {
  if (isKnown) commonType(name, parts);
  const [first] = parts;
  const other = parts.find(({ view }) => {
    return view.dtype !== first!.view.dtype || String(view.shape) !== String(first!.view.shape);
  });
  if (other) throw differs(name, first!, other, isKnown);
}

/** The error for a tensor that is not the same in two ranks. */
export function differs(name: string, one: FilePart, other: FilePart, isKnown: boolean): SafetensorsError {
  const what = `it is not the same in ${quote(one.file)} and ${quote(other.file)}`;
  if (isKnown) return mismatch(name, `${what}, though it should be whole in every rank`);
  const example = JSON.stringify({ [patternFor(name)]: 0 });
  const text = `tensor ${quote(name)}: ${what}, and no rule says how it is cut; give one, such as ${example}`;
  return new SafetensorsError("AMBIGUOUS", text, { tensor: name });
}

function checkOtherAxes(name: string, parts: readonly FilePart[], axis: number): void {
  const [first] = parts;
  for (const { file, view } of parts) {
    if (view.shape.every((size, i) => i === axis || size === first!.view.shape[i])) continue;
    const shapes = `[${first!.view.shape}] in ${quote(first!.file)} and [${view.shape}] in ${quote(file)}`;
    throw mismatch(name, `${shapes} cannot be joined along axis ${axis}`);
  }
}

/** Where the matrices in a part begin along the axis, and where the last one ends. */
function blockEdges(
  name: string,
  { file, view }: FilePart,
  axis: number,
  ratios: readonly number[],
): readonly number[] {
  const size = view.shape[axis]!;
  const sum = ratios.reduce((sum, ratio) => sum + ratio, 0);
  if (size % sum !== 0) {
    const text = `the ${size} indices of axis ${axis} in ${quote(file)} are not made of matrices of ${ratios.join(" : ")}`;
    throw mismatch(name, text);
  }
  const edges = [0];
  for (const ratio of ratios) edges.push(edges.at(-1)! + (size / sum) * ratio);
  return edges;
}
