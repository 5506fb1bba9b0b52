import type { FloatDtype } from "../../dtype/cast.ts";
import { elementCount } from "../../dtype/dtype.ts";
import { SafetensorsError } from "../../errors.ts";
import type { PartData } from "../weight.ts";
import { plainQuantizeKernels, type QuantizeKernels } from "./kernels/quantize-kernels.ts";
import type { RunKernels } from "./kernels/runs.ts";
import type { StoredPart, WeightQuantizer } from "./quantizer.ts";

/** What a scheme says of matrices that have elements, all of them finite. */
export interface SchemeRules {
  readonly scheme: string;
  /** Why a matrix of this size cannot be quantised so; nothing if it can. */
  misfit?(rows: number, columns: number): string | undefined;
  describe(rows: number, columns: number, dtype: FloatDtype): readonly StoredPart[];
  quantize(
    values: Float32Array,
    rows: number,
    columns: number,
    dtype: FloatDtype,
    kernels: QuantizeKernels,
  ): ReadonlyMap<string, PartData>;
}

/** A quantiser of these rules, with the checks that all schemes share. */
export function quantizerFrom(rules: SchemeRules): WeightQuantizer {
  const { scheme } = rules;
  return {
    scheme,
    describe: (shape, dtype) => misfitOf(rules, shape) ?? rules.describe(shape[0]!, shape[1]!, dtype),
    quantize(values, shape, dtype, kernels = plainQuantizeKernels) {
      const misfit = misfitOf(rules, shape);
      if (misfit !== undefined) throw new SafetensorsError("UNSUPPORTED", `${scheme}: ${misfit}`);
      if (values.length !== elementCount(shape)) {
        const text = `${values.length} values for a weight of shape [${shape}]`;
        throw new SafetensorsError("SIZE_MISMATCH", `${scheme}: ${text}`);
      }
      const [rows, columns] = shape as [number, number];
      checkFinite(scheme, values, columns, kernels.runs);
      return rules.quantize(values, rows, columns, dtype, kernels);
    },
  };
}

/** One scale for every `group` neighbours of a row needs rows that are a whole number of groups. */
export function groupMisfit(columns: number, group: number): string | undefined {
  return columns % group === 0 ? undefined : `${columns} inputs are no multiple of the group of ${group}`;
}

function misfitOf(rules: SchemeRules, shape: readonly number[]): string | undefined {
  const [rows = 0, columns = 0] = shape;
  if (shape.length !== 2 || rows === 0 || columns === 0)
    return `a weight of shape [${shape}] is no matrix that has elements`;
  return rules.misfit?.(rows, columns);
}

function checkFinite(scheme: string, values: Float32Array, columns: number, runs: RunKernels): void {
  if (runs.areFinite(values)) return;
  const at = values.findIndex((value) => !Number.isFinite(value));
  const place = `element [${Math.floor(at / columns)}, ${at % columns}]`;
  throw new SafetensorsError("UNSUPPORTED", `${scheme}: ${place} is ${values[at]}, which has no code`);
}
