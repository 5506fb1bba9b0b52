export {
  type EncodedHeader,
  encodeHeader,
  type HeaderOptions,
  type TensorSpec,
} from "../format/encode.ts";
export { type AliasGroups, type AliasOptions, groupAliases, type NamedTensor } from "./aliases.ts";
export { blobSink } from "./blob-sink.ts";
export { castTensor } from "./cast.ts";
export { type EditedHeader, editHeader, type HeaderChanges } from "./edit.ts";
export type { Bytes, InputData, LazyData } from "./input.ts";
export { applyNameRules, type NameRules } from "./name-rules.ts";
export { newNames, type RenameRules } from "./new-names.ts";
export {
  type SaveInput,
  type SaveInputs,
  type SaveOptions,
  save,
  type TensorData,
  type TensorStream,
} from "./save.ts";
export { type ByteRange, type CopyOptions, memorySink, type Sink } from "./sink.ts";
export {
  parseSize,
  shardName,
  splitByLayer,
  splitEvenly,
  splitGreedily,
  splitTightly,
} from "./split.ts";
export { type SaveStream, saveStream } from "./stream.ts";
export { type SyncAccessHandle, syncAccessSink } from "./sync-access-sink.ts";
export type { SumOptions } from "./tensor-sum.ts";
export { writableSink } from "./writable-sink.ts";
export { type Chunks, SafetensorsWriter } from "./writer.ts";
