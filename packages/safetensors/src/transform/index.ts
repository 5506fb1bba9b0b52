export {
  type ApplyOptions,
  applyRecipe,
  type StepReport,
  type Transformed,
  type TransformReport,
} from "./apply.ts";
export type { Expression } from "./expression.ts";
export { invertRecipe } from "./invert.ts";
export { RECIPES } from "./named.ts";
export type {
  ConcatOperation,
  EachOperation,
  InterleaveOperation,
  Operation,
  PartSizes,
  SplitOperation,
  StackOperation,
  UnstackOperation,
} from "./operation.ts";
export { parseRecipe, type Recipe, type RecipeStep, type RecipeVariable } from "./recipe.ts";
