import { SafetensorsError } from "../errors.ts";
import { arrangements } from "./flow.ts";
import type { ConcatOperation, Operation, StackOperation } from "./operation.ts";
import { parseRecipe, type Recipe, type RecipeStep } from "./recipe.ts";

/**
 * The recipe that makes the old tensors of those that this one makes.
 *
 * @throws `UNSUPPORTED`, with the step, for what cannot be undone: tensors that are taken away (unless optional) or shared, `slice`, and
 *   operations that do not say what the way back needs (`sizes` of a concat, `from` of a reshape)
 */
export function invertRecipe(input: Recipe): Recipe {
  const recipe = parseRecipe(input);
  if (recipe.others === "drop") throw unsupported("others", "drops tensors");
  const steps = recipe.steps.flatMap((step, index) => invertStep(step, `steps[${index}]`));
  // Reading it again checks that all of it fits.
  return parseRecipe({ ...recipe, steps });
}

/** The way back of a step. There is none, and none is needed, for tensors that are taken away if they are there. */
function invertStep(step: RecipeStep, path: string): RecipeStep[] {
  const { from, to, ops, ...rest } = step;
  if (!to && step.optional) return [];
  if (!to) throw unsupported(path, "takes tensors away that have to be there");
  if (step.share) throw unsupported(`${path}.share`, "lets other steps use the same tensors");
  const columns = arrangements(step, path).map((arrangement) => arrangement.columns);
  const back = ops
    ?.map((op, i) => invertOperation(op, columns[i]!, from.length, `${path}.ops[${i}]`))
    .reverse();
  return [{ ...rest, from: to, to: from, ...(back && { ops: back }) }];
}

/**
 * @param columns how many tensors there were side by side before the operation.
 * @param targets how many the whole way back arrives at.
 */
function invertOperation(operation: Operation, columns: number, targets: number, path: string): Operation {
  const { over } = operation as StackOperation;
  const parts = over === undefined && columns !== targets ? { parts: columns } : {};
  switch (operation.op) {
    case "stack":
      return { ...operation, op: "unstack", ...parts };
    case "unstack": {
      const { parts: _, ...rest } = operation;
      return { ...rest, op: "stack" };
    }
    case "concat":
      checkSizes(operation, path);
      return { ...operation, op: "split", ...(operation.sizes === "equal" && parts) };
    case "split": {
      const { parts: _, sizes = "equal", ...rest } = operation;
      return { ...rest, op: "concat", sizes };
    }
    case "interleave":
      return { ...operation, op: "deinterleave", ...parts };
    case "deinterleave":
      return { op: "interleave", axis: operation.axis };
    case "transpose":
      return operation.axes ? { ...operation, axes: inversePermutation(operation.axes) } : operation;
    case "reshape":
      if (!operation.from)
        throw unsupported(`${path}.from`, "is missing: which shape is it on the way back?");
      return { ...operation, shape: operation.from, from: operation.shape };
    case "permuteRope": {
      const { inverse, ...rest } = operation;
      return inverse ? rest : { ...rest, inverse: true };
    }
    case "slice":
      throw unsupported(path, "is a slice");
  }
}

/** The way back of a concat has to know what it joined. */
function checkSizes({ sizes, over, count }: ConcatOperation, path: string): void {
  if (sizes === undefined) {
    throw unsupported(
      `${path}.sizes`,
      `is missing: which sizes have the parts on the way back? "equal" is one answer`,
    );
  }
  if (over !== undefined && count === undefined) {
    throw unsupported(`${path}.count`, "is missing: how many parts are there on the way back?");
  }
}

function inversePermutation(axes: readonly number[]): number[] {
  const inverse = new Array<number>(axes.length).fill(-1);
  for (const [place, axis] of axes.entries()) inverse[axis < 0 ? axis + axes.length : axis] = place;
  return inverse;
}

function unsupported(path: string, text: string): SafetensorsError {
  return new SafetensorsError("UNSUPPORTED", `the recipe cannot be applied in reverse: ${path} ${text}`);
}
