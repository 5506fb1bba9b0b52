export { type EncodedHeader, encodeHeader, type HeaderOptions, type TensorSpec } from "./encode.ts";
export { Header, readHeaderLength, type TensorInfo } from "./header.ts";
export type { ReadMode } from "./mode.ts";
export { type ParseOptions, parseHeader } from "./parse-header.ts";
