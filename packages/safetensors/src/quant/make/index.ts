export { AWQ_MODEL_TYPES, awqFoldings, type Folding, type FoldingSource } from "./calibrated/awq-foldings.ts";
export { awqLimits } from "./calibrated/awq-limits.ts";
export { type AwqRounding, awqCodes } from "./calibrated/awq-round.ts";
export { type AwqInput, type AwqScales, awqScales } from "./calibrated/awq-scales.ts";
export { foldIntoColumns, foldIntoNorm, foldIntoRows } from "./calibrated/fold-scale.ts";
export { type GptqInput, type GptqResult, gptq, roundToNearest } from "./calibrated/gptq.ts";
export type { CodeFormat } from "./calibrated/grid.ts";
export { type FactorOptions, factorHessian, type HessianFactor } from "./calibrated/hessian-factor.ts";
export {
  joinRows,
  type OutputError,
  type SolvedRows,
  type SolveOptions,
  solveRows,
} from "./calibrated/solve-rows.ts";
export { squaredErrors } from "./calibrated/squared-errors.ts";
export {
  CalibrationStatistics,
  type InputStatistics,
  SAME_INPUT_KEY,
  STATISTICS_KEY,
} from "./calibrated/statistics.ts";
export { type QuantizedConfig, type QuantizedModel, quantizedConfig } from "./config.ts";
export { type MxScaleRule, nvfp4GlobalScale } from "./fp4.ts";
export type { GroupedCodes } from "./grouped-codes.ts";
export {
  loadQuantizeKernels,
  plainQuantizeKernels,
  type QuantizeKernels,
} from "./kernels/quantize-kernels.ts";
export { packAwq } from "./pack-awq.ts";
export { packCompressedTensors } from "./pack-compressed-tensors.ts";
export { packGptq } from "./pack-gptq.ts";
export type { StoredPart, WeightQuantizer } from "./quantizer.ts";
export { type QuantizerOptions, quantizerOf, SCHEME_NAMES } from "./quantizer-of.ts";
export {
  chooseWeights,
  misfitReason,
  type SkipReason,
  sharesScale,
  type TensorFacts,
  usualReason,
  type WeightChoice,
} from "./skip.ts";
