import { type ErrorDetails, SafetensorsError } from "../errors.ts";

/** An error for what cannot be cut so, or a plan that is none. */
export function problem(text: string, details: ErrorDetails = {}): SafetensorsError {
  return new SafetensorsError("INVALID_SLICE", text, details);
}

/** Throws unless there is such a rank: `0 <= rank < world`. */
export function checkRank(rank: number, world: number): void {
  if (Number.isSafeInteger(world) && world > 0 && Number.isSafeInteger(rank) && rank >= 0 && rank < world)
    return;
  throw problem(`there is no rank ${rank} in a world of ${world}`);
}
