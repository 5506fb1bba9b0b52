export { withoutDigests } from "../checkpoint/digest-keys.ts";
export {
  type HashTensorsOptions,
  hashTensors,
  verifyTensors,
} from "./hash-tensors.ts";
export { digestMetadata, manifestInMetadata } from "./in-metadata.ts";
export {
  encodeManifest,
  type FileDigest,
  type Manifest,
  parseManifest,
  type TensorDigest,
} from "./manifest.ts";
export { type Hasher, sha256 } from "./sha256.ts";
export { type VerifyOptions, verifying } from "./verifying.ts";
