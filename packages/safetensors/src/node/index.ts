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
export { type FileSink, fileSink } from "./file-sink.ts";
export { type FileOptions, FileSource, openFile } from "./file-source.ts";
export { type FolderOptions, folderStore, pathPlace } from "./folder-store.ts";
export { readHubToken } from "./hub-token.ts";
export { hugePages } from "./huge-pages.ts";
export { type CheckpointFiles, locateCheckpoint } from "./locate.ts";
export { openMapped } from "./mapped-file.ts";
export { openPath, openWeights, type PathOptions } from "./open-path.ts";
export { saveFile } from "./save-file.ts";
export { saveTorch } from "./save-torch.ts";
