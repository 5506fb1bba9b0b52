export { Checkpoint, type CheckpointParts, type TensorIndex } from "./checkpoint/checkpoint.ts";
export type { FileChoice, WeightsFormat } from "./checkpoint/choose-files.ts";
export type { LoadOptions } from "./checkpoint/load.ts";
export { type LocatedFiles, type LocateOptions, locateFiles } from "./checkpoint/locate.ts";
export { type FormatReader, type OpenInput, type OpenOptions, open } from "./checkpoint/open.ts";
export {
  type OpenedFile,
  type OpenedFiles,
  openStore,
  openStoreFiles,
  type StoreOptions,
} from "./checkpoint/open-store.ts";
export type { LoadedTensor, ReadTensorsOptions, TensorChoice } from "./checkpoint/read-tensors.ts";
export { reshape, transpose } from "./checkpoint/rearrange.ts";
export { openSafetensors, readHeader, type SafetensorsOptions } from "./checkpoint/safetensors.ts";
export { type NameChoice, selectTensors } from "./checkpoint/select.ts";
export { parseShardIndex, type ShardIndex } from "./checkpoint/shard-index.ts";
export { joinShards } from "./checkpoint/sharded.ts";
export { TensorHandle } from "./checkpoint/tensor.ts";
export { parseJsonFiles, readTextFiles } from "./checkpoint/text-files.ts";
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
export type { RetryOptions } from "./source/backoff.ts";
export { fromBlob } from "./source/blob.ts";
export { blobStore } from "./source/blob-store.ts";
export { type CacheOptions, cached } from "./source/cached.ts";
export { openUrl, type UrlOptions } from "./source/http.ts";
export { fromBytes } from "./source/memory.ts";
export { observed, type Traffic } from "./source/observed.ts";
export { EXACT, priced } from "./source/priced.ts";
export { type RetryingOptions, retrying } from "./source/retrying.ts";
export type { ByteSource, ReadOptions } from "./source/source.ts";
export type { FileStore, StorePlace } from "./source/store.ts";
export { urlPlace } from "./source/url-place.ts";
export { type WholeFileOptions, wholeFile } from "./source/whole.ts";
export { type IndexItem, type Range, range } from "./view/index-items.ts";
export { parseIndex } from "./view/index-text.ts";
export { type Piece, piecesOf, type TensorView, type Tiling } from "./view/tiling.ts";
export { contiguousStrides, isContiguous, type RangeChecksum, type StridedView } from "./view/view.ts";
