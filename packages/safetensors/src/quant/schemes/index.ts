import type { Scheme } from "../scheme.ts";

/** All schemes that are known, in the order in which they look where no configuration says which it is. */
export const SCHEMES: readonly Scheme[] = [];
