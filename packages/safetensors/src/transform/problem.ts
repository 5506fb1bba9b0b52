import { SafetensorsError } from "../errors.ts";

/** An error of the recipe itself. `path` says where in it: `steps[2].ops[0].axis`. */
export function invalidRecipe(path: string, problem: string): SafetensorsError {
  const text = `the recipe is not valid: ${path === "" ? "" : `${path} `}${problem}`;
  return new SafetensorsError("INVALID_RECIPE", text);
}

/** An error with the place in the recipe, and the tensor, that it happened at. */
export function atStep(path: string, tensor: string | undefined, error: unknown): unknown {
  if (!(error instanceof SafetensorsError)) return error;
  const details = { ...error.details, ...(tensor !== undefined && { tensor }), cause: error.cause ?? error };
  return new SafetensorsError(error.code, `${path}: ${error.reason}`, details);
}
