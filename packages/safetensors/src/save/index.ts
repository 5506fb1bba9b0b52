export {
  type EncodedHeader,
  encodeHeader,
  type HeaderOptions,
  type TensorSpec,
} from "../format/encode.ts";
export { type SaveInput, type SaveInputs, type SaveOptions, save, type TensorData } from "./save.ts";
export { memorySink, type Sink } from "./sink.ts";
export { type Chunks, SafetensorsWriter } from "./writer.ts";
