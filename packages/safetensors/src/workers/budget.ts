import { elementCount } from "../dtype/dtype.ts";
import { SafetensorsError } from "../errors.ts";
import { piecesOf, type TensorView } from "../view/tiling.ts";
import { type GroupOptions, groupOf, mostBytes, type WantedTensor } from "./groups.ts";

const DEFAULT_BUDGET = 256 << 20;

/**
 * The budget of a call, in bytes: the one that is asked for, or else what is usual or the largest tensor needs.
 *
 * @throws `LIMIT_EXCEEDED` if one of the tensors does not fit
 */
export function budgetFor(
  wanted: readonly WantedTensor[],
  asked: number | undefined,
  options: GroupOptions,
): number {
  let budget = asked ?? DEFAULT_BUDGET;
  for (const tensor of wanted) {
    if (mostBytes(tensor, options.form) <= budget) continue;
    const { size, scratch } = groupOf([tensor], options);
    const needed = size + scratch;
    if (needed <= budget) continue;
    if (asked !== undefined || repeats(tensor.chosen.view))
      throw tooSmall(budget, needed, tensor.chosen.name);
    budget = needed;
  }
  return budget;
}

/**
 * Whether the elements of a tensor are many more than lie in its source. Strides of zero make little data into any
 * amount: so much memory is only taken if the caller says so.
 */
function repeats(view: TensorView): boolean {
  const lying = piecesOf(view).reduce((sum, { view: { shape, strides } }) => {
    const span = shape.reduce((reach, size, axis) => reach + (size - 1) * Math.abs(strides[axis]!), 1);
    return sum + Math.min(span, elementCount(shape));
  }, 0);
  return elementCount(view.shape) > 2 * lying;
}

function tooSmall(budget: number, needed: number, tensor: string): SafetensorsError {
  const text = `a budget of ${budget} bytes is too small, ${needed} are needed at once`;
  return new SafetensorsError("LIMIT_EXCEEDED", `${text}; raise it, or read large tensors in parts`, {
    limit: "budget",
    tensor,
  });
}
