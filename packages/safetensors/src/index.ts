export { Checkpoint, type CheckpointParts, type TensorIndex } from "./checkpoint/checkpoint.ts";
export { type FormatReader, type OpenInput, type OpenOptions, open } from "./checkpoint/open.ts";
export type { LoadedTensor, ReadTensorsOptions, TensorChoice } from "./checkpoint/read-tensors.ts";
export { openSafetensors, readHeader, type SafetensorsOptions } from "./checkpoint/safetensors.ts";
export { parseShardIndex, type ShardIndex } from "./checkpoint/shard-index.ts";
export { joinShards } from "./checkpoint/sharded.ts";
export { TensorHandle } from "./checkpoint/tensor.ts";
export {
  DTYPE_ORDER,
  DTYPES,
  type Dtype,
  type DtypeArrays,
  type DtypeInfo,
  type DtypeKind,
  elementCount,
  isDtype,
} from "./dtype/dtype.ts";
export { type ErrorCode, type ErrorDetails, SafetensorsError } from "./errors.ts";
export { Header, type TensorInfo } from "./format/header.ts";
export type { ReadMode } from "./format/mode.ts";
export type { Progress } from "./plan/execute.ts";
export type { PlanSummary, SourceSummary } from "./plan/plan.ts";
export { fromBlob } from "./source/blob.ts";
export { openUrl, type UrlOptions } from "./source/http.ts";
export { fromBytes } from "./source/memory.ts";
export type { ByteSource, ReadOptions } from "./source/source.ts";
export { type IndexItem, type Range, range } from "./view/index-items.ts";
export { parseIndex } from "./view/index-text.ts";
export { type Piece, piecesOf, type TensorView, type Tiling } from "./view/tiling.ts";
export { contiguousStrides, isContiguous, type StridedView } from "./view/view.ts";
