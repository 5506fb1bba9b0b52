/**
 * A norm's weight for inputs that are divided by `scale`.
 *
 * @param addsOne the norm multiplies by `1 + weight`
 */
export function foldIntoNorm(weight: Float32Array, scale: Float32Array, addsOne = false): Float32Array {
  return weight.map((value, i) => (addsOne ? (1 + value) / scale[i]! - 1 : value / scale[i]!));
}

/** A linear layer's weight `[N, K]`, or its bias `[N]`, with outputs that are divided by `scale`. */
export function foldIntoRows(values: Float32Array, scale: Float32Array): Float32Array {
  const columns = values.length / scale.length;
  return values.map((value, at) => value / scale[Math.floor(at / columns)]!);
}

/** A weight `[N, K]` whose inputs are divided by `scale`: what it does stays the same. */
export function foldIntoColumns(values: Float32Array, scale: Float32Array): Float32Array {
  return values.map((value, at) => value * scale[at % scale.length]!);
}
