/** Names of the tensors of every checkpoint here. */
export const NAMES = Array.from({ length: 12 }, (_, index) => `layers.${index}.weight`);

/** Elements of each. */
export const LENGTH = 16384;

/** Bytes of all data. */
export const TOTAL = NAMES.length * LENGTH * 4;

/** The tensors of a generation: every element says which one it is. Each has memory of its own, or they would be tied. */
export function tensorsOf(generation) {
  const tensor = () => ({ dtype: "F32", shape: [LENGTH], data: new Float32Array(LENGTH).fill(generation) });
  return Object.fromEntries(NAMES.map((name) => [name, tensor()]));
}
