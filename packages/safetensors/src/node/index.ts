export {
  type ConvertedFile,
  type ConvertedInput,
  type ConvertOptions,
  type ConvertResult,
  convertPath,
} from "./convert/convert.ts";
export type { OneFileOptions, OneFileResult } from "./convert/one-file.ts";
export type { OutputRules } from "./convert/outputs.ts";
export { convertToNumpy } from "./convert/to-numpy.ts";
export { convertToTorch } from "./convert/to-torch.ts";
export { decompress } from "./decompress.ts";
export {
  type HashCheckpointOptions,
  type HashedCheckpoint,
  type HashOptions,
  hashCheckpoint,
  hashFile,
} from "./digests/hash.ts";
export {
  manifestPath,
  readManifest,
  type VerifiedManifest,
  type VerifyManifestOptions,
  verifyManifest,
  writeManifest,
} from "./digests/manifest.ts";
export { recordDigests } from "./digests/record-digests.ts";
export { type CheckpointEditResult, editCheckpoint } from "./edit/edit-checkpoint.ts";
export { type EditOptions, type EditResult, editFile } from "./edit/edit-file.ts";
export { type FinishOptions, finishEdits } from "./edit/journal-finish.ts";
export { type RewriteChanges, rewriteFile } from "./edit/rewrite.ts";
export { type WriteTensorsOptions, writeTensors } from "./edit/write-tensors.ts";
export { type FileOptions, FileSource, openFile } from "./file-source.ts";
export { type FolderOptions, folderStore, pathPlace } from "./folder-store.ts";
export { readHubToken } from "./hub-token.ts";
export { hugePageAdvice, hugePages } from "./huge-pages.ts";
export { type CheckpointFiles, locateCheckpoint } from "./locate.ts";
export { openMapped } from "./mapped-file.ts";
export { openPath, openWeights, type PathOptions } from "./open-path.ts";
export { type SaveSharesOptions, saveShares } from "./parallel/save-shares.ts";
export {
  checkQuantizable,
  type QuantizedWeights,
  type QuantizeWeightsOptions,
  quantizeWeights,
  type WeightReport,
} from "./quantize/quantize-weights.ts";
export type { Defect } from "./repair/examine-file.ts";
export { type RepairOptions, type RepairReport, repairCheckpoint } from "./repair/repair.ts";
export type { LayoutOptions } from "./write/checkpoint-layout.ts";
export { type FileSink, fileSink } from "./write/file-sink.ts";
export {
  type SaveCheckpointOptions,
  type SavedCheckpoint,
  type SavedFile,
  saveCheckpoint,
} from "./write/save-checkpoint.ts";
export { saveFile } from "./write/save-file.ts";
export { saveTorch } from "./write/save-torch.ts";
export type { WriteOptions } from "./write/write-outputs.ts";
