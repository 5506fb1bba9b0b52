export {
  type ConfigFiles,
  type Fields,
  QUANT_CONFIG_FILES,
  type QuantConfig,
  quantConfigOf,
} from "./config.ts";
export { cutOfDense, cutParts, denseShape, grainOf, type PartCut, type WeightCut } from "./cut-parts.ts";
export { type DecodeOptions, type DenseKernels, decodePiece } from "./dense-source.ts";
export { type DequantizeOptions, dequantized } from "./dequantize.ts";
export { type FindOptions, findQuantized, type Quantization } from "./find.ts";
export type {
  AwqCall,
  KernelCall,
  KMajorCall,
  PackedRowsCall,
  ScaledBytesCall,
  ScaledNibblesCall,
} from "./kernels/call.ts";
export { type KernelOptions, type Kernels, loadKernels, plainKernels } from "./kernels/load.ts";
export { runKernel } from "./kernels/run.ts";
export { denseConfig, QUANT_ONLY_FILES, withQuantizationConfig } from "./rewrite-config.ts";
export type { QuantProblem, UnsupportedWeights } from "./scheme.ts";
export type { AxisLink, Part, PartData, QuantizedWeight, Restated } from "./weight.ts";
