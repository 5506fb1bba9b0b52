import type { FloatDtype } from "../dtype/cast.ts";

/** How PyTorch, and with it transformers, names the floats that models are stored in. */
const NAMES: ReadonlyMap<FloatDtype, string> = new Map([
  ["F64", "float64"],
  ["F32", "float32"],
  ["F16", "float16"],
  ["BF16", "bfloat16"],
]);

/** The same the other way round, without F64, in which no weight is computed. */
const FLOATS: ReadonlyMap<unknown, FloatDtype> = new Map(
  [...NAMES].filter(([dtype]) => dtype !== "F64").map(([dtype, name]) => [name, dtype]),
);

/** What PyTorch calls a dtype, if it is one of 16, 32 or 64 bits. */
export function torchName(dtype: FloatDtype): string | undefined {
  return NAMES.get(dtype);
}

/** The dtype that PyTorch calls so, with or without `torch.`, if it is one of the floats that weights are computed in. */
export function torchFloat(name: unknown): FloatDtype | undefined {
  return FLOATS.get(typeof name === "string" ? name.replace(/^torch\./, "") : name);
}
