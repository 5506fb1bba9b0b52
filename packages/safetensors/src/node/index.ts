export type { LayoutOptions } from "./checkpoint-layout.ts";
export {
  type ConvertedFile,
  type ConvertedInput,
  type ConvertOptions,
  type ConvertResult,
  convertPath,
} from "./convert.ts";
export type { OutputRules } from "./convert-outputs.ts";
export { convertToTorch, type ToTorchOptions, type ToTorchResult } from "./convert-to-torch.ts";
export type { WriteOptions } from "./convert-write.ts";
export { decompress } from "./decompress.ts";
export { type CheckpointEditResult, editCheckpoint } from "./edit-checkpoint.ts";
export { type EditOptions, type EditResult, editFile } from "./edit-file.ts";
export { type RewriteChanges, rewriteFile } from "./edit-rewrite.ts";
export { type WriteTensorsOptions, writeTensors } from "./edit-tensors.ts";
export { type FileSink, fileSink } from "./file-sink.ts";
export { type FileOptions, FileSource, openFile } from "./file-source.ts";
export { type FolderOptions, folderStore, pathPlace } from "./folder-store.ts";
export {
  type HashCheckpointOptions,
  type HashedCheckpoint,
  type HashOptions,
  hashCheckpoint,
  hashFile,
} from "./hash.ts";
export { readHubToken } from "./hub-token.ts";
export { hugePages } from "./huge-pages.ts";
export { type FinishOptions, finishEdits } from "./journal-finish.ts";
export { type CheckpointFiles, locateCheckpoint } from "./locate.ts";
export {
  manifestPath,
  readManifest,
  type VerifiedManifest,
  type VerifyManifestOptions,
  verifyManifest,
  writeManifest,
} from "./manifest.ts";
export { openMapped } from "./mapped-file.ts";
export { openPath, openWeights, type PathOptions } from "./open-path.ts";
export { recordDigests } from "./record-digests.ts";
export { type RepairOptions, type RepairReport, repairCheckpoint } from "./repair.ts";
export type { Defect } from "./repair-file.ts";
export {
  type SaveCheckpointOptions,
  type SavedCheckpoint,
  type SavedFile,
  saveCheckpoint,
} from "./save-checkpoint.ts";
export { saveFile } from "./save-file.ts";
export { saveTorch } from "./save-torch.ts";
