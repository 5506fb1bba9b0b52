export { AWQ_MODEL_TYPES } from "./calibrated/awq-foldings.ts";
export { awqLimits } from "./calibrated/awq-limits.ts";
export { type AwqRounding, awqCodes } from "./calibrated/awq-round.ts";
export { type AwqInput, type AwqScales, awqScales } from "./calibrated/awq-scales.ts";
export { type GptqInput, type GptqResult, gptq } from "./calibrated/gptq.ts";
export type { FactorOptions } from "./calibrated/hessian-factor.ts";
export type { OutputError } from "./calibrated/solve-rows.ts";
export {
  CalibrationStatistics,
  type InputStatistics,
  SAME_INPUT_KEY,
  STATISTICS_KEY,
} from "./calibrated/statistics.ts";
export { type QuantizedConfig, type QuantizedModel, quantizedConfig } from "./config.ts";
export type { GroupedCodes } from "./grouped-codes.ts";
export { packAwq } from "./pack-awq.ts";
export { packCompressedTensors } from "./pack-compressed-tensors.ts";
export { packGptq } from "./pack-gptq.ts";
export { type QuantizerOptions, quantizerOf, type StoredPart, type WeightQuantizer } from "./quantizer.ts";
export { SCHEME_NAMES } from "./quantizer-of.ts";
export {
  chooseWeights,
  misfitReason,
  type SkipReason,
  type TensorFacts,
  usualReason,
  type WeightChoice,
} from "./skip.ts";
