import type { FloatDtype } from "../../dtype/cast.ts";
import type { Dtype } from "../../dtype/dtype.ts";
import type { PartData } from "../weight.ts";
import type { QuantizeKernels } from "./kernels/quantize-kernels.ts";

/** A stored tensor of a weight that is to be quantised, before there is data for it. */
export interface StoredPart {
  /** What follows the module's name and a dot: `qweight`, `weight_scale`, `weight.absmax`. */
  readonly role: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Makes the stored tensors of weights from their dense values, without calibration. */
export interface WeightQuantizer {
  /** Its name in full: `gptq-int4-g128`. */
  readonly scheme: string;
  /**
   * What is stored of a weight of this shape, `[out, in]`, and this dtype; or, in a sentence, why it cannot be
   * quantised so.
   */
  describe(shape: readonly number[], dtype: FloatDtype): readonly StoredPart[] | string;
  /**
   * The stored tensors by role, as `describe` has them, in its order.
   *
   * @param values of the weight, row by row; they are not changed
   * @param dtype of the dense weight; scales that the scheme keeps in the model's dtype have it
   * @param kernels from `loadQuantizeKernels`; those in JavaScript if not given
   * @throws `UNSUPPORTED` for a NaN or an infinity, naming the element; for scales that their dtype cannot hold; and for a
   * shape that `describe` refuses. `SIZE_MISMATCH` if the values do not fill the shape
   */
  quantize(
    values: Float32Array,
    shape: readonly number[],
    dtype: FloatDtype,
    kernels?: QuantizeKernels,
  ): ReadonlyMap<string, PartData>;
}
