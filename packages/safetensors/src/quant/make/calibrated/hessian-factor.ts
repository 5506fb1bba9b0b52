import { SafetensorsError } from "../../../errors.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "../kernels/quantize-kernels.ts";
import { factorCholesky, invertCholesky } from "./cholesky.ts";

/** How the factor of a Hessian is made. */
export interface FactorOptions {
  /** Quantise the inputs with the largest diagonal first ("act-order", `desc_act`). Not unless said. */
  readonly actOrder?: boolean | undefined;
  /** What is added to the diagonal first, as a share of its mean. 0.01 unless given. */
  readonly damp?: number | undefined;
  /** Keep the factor in a SharedArrayBuffer, for workers. Not unless said. */
  readonly shared?: boolean | undefined;
}

/**
 * What solving needs of a layer's inputs; plain data, which workers can be given. It is the upper Cholesky factor U of the inverse
 * of the damped Hessian, `transposed(U) * U = inverse(H)`.
 */
export interface HessianFactor {
  /** Number of inputs K. */
  readonly size: number;
  /** `[K, K]`, U transposed: `U[i, j]` is at `j * K + i`, for i up to j. What lies above the diagonal has no meaning. */
  readonly inverse: Float64Array;
  /** The input at each position of U, if they are not in their own order. */
  readonly order?: Int32Array;
  /** 1 for inputs that are always zero: their weights become zero. */
  readonly dead: Uint8Array;
  /** What was added to the diagonal. */
  readonly damping: number;
  /** The share of the mean that this was: larger than asked for where the matrix was not positive definite. */
  readonly damp: number;
}

/**
 * Factors the Hessian of a layer: the sum of the products of its inputs, `transposed(X) * X`. Its scale does not matter.
 * Where the matrix is not positive definite, the damping is doubled until it is, up to the mean of the diagonal.
 *
 * U comes from one factorisation: with rows and columns in reverse, `H = L * transposed(L)`, and U is the inverse of L in
 * reverse. That takes half the time of inverting H and factoring the inverse, and keeps more digits.
 *
 * Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers" (2022).
 *
 * @param hessian `[size, size]`, symmetric; it is not changed
 * @returns `undefined` if the matrix is not positive definite with any damping tried
 * @throws `SIZE_MISMATCH` if the matrix is not of that size, `OUT_OF_RANGE` for a damping that is not from 0 to 1
 */
export function factorHessian(
  hessian: Float32Array | Float64Array,
  size: number,
  options: FactorOptions = {},
  kernels: QuantizeKernels = plainQuantizeKernels,
): HessianFactor | undefined {
  const { actOrder = false, damp: asked = 0.01, shared = false } = options;
  if (hessian.length !== size * size) {
    const text = `a Hessian for ${size} inputs has ${size * size} elements, this one has ${hessian.length}`;
    throw new SafetensorsError("SIZE_MISMATCH", text);
  }
  if (!(asked >= 0 && asked <= 1))
    throw new SafetensorsError("OUT_OF_RANGE", `a damping of ${asked} is not from 0 to 1`);
  const diagonal = Float64Array.from({ length: size }, (_, i) => hessian[i * size + i]!);
  const dead = Uint8Array.from(diagonal, (value) => (value === 0 ? 1 : 0));
  const mean = diagonal.reduce((sum, value) => sum + value, 0) / size || 1;
  const order = actOrder ? descending(diagonal) : undefined;
  const bytes = 8 * size * size;
  const inverse = new Float64Array(shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes));
  for (let damp = asked; damp <= 1; damp = damp === 0 ? 0.01 : damp * 2) {
    const damping = damp * mean;
    ordered(hessian, size, order, inverse);
    for (let position = 0; position < size; position++) {
      const input = order ? order[position]! : position;
      inverse[position * size + position] = (dead[input] === 1 ? mean : diagonal[input]!) + damping;
    }
    inverse.reverse();
    if (!factorCholesky(inverse, size, kernels.matrices)) continue;
    invertCholesky(inverse, size, kernels.matrices);
    inverse.reverse();
    return { size, inverse, ...(order && { order }), dead, damping, damp };
  }
  return undefined;
}

/** Copies a matrix, with rows and columns in an order. */
function ordered(
  matrix: Float32Array | Float64Array,
  size: number,
  order: Int32Array | undefined,
  target: Float64Array,
): void {
  if (!order) return target.set(matrix);
  for (let row = 0; row < size; row++) {
    const from = order[row]! * size;
    for (let column = 0; column < size; column++)
      target[row * size + column] = matrix[from + order[column]!]!;
  }
}

/** The indices of values from the largest to the smallest, equal ones as they were. */
function descending(values: Float64Array): Int32Array {
  return Int32Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
}
