/**
 * How strictly a header is read.
 *
 * - `strict` (the default): what the reference accepts, except what the specification forbids or two readers could
 *   understand differently: duplicate names or metadata keys, tensor entries that are not objects, dimensions above
 *   2^53 - 1.
 * - `compat`: accepts and refuses exactly what the reference does; of duplicates the last one counts.
 * - `lenient`: for inspection only. Returns what can be understood with the list of all problems.
 */
export type ReadMode = "strict" | "compat" | "lenient";
