export {
  type EncodedHeader,
  encodeHeader,
  type HeaderOptions,
  type TensorSpec,
} from "../format/encode.ts";
export { castTensor } from "./cast.ts";
export { applyNameRules, type NameRules } from "./rename.ts";
export {
  type SaveInput,
  type SaveInputs,
  type SaveOptions,
  save,
  type TensorData,
  type TensorStream,
} from "./save.ts";
export { memorySink, type Sink } from "./sink.ts";
export { parseSize, shardName, splitGreedily } from "./split.ts";
export { type Chunks, SafetensorsWriter } from "./writer.ts";
