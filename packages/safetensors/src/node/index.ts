export { type ConvertedFile, type ConvertOptions, type ConvertResult, convertPath } from "./convert.ts";
export { type FileSink, fileSink } from "./file-sink.ts";
export { type FileOptions, FileSource, openFile } from "./file-source.ts";
export { type CheckpointFiles, locateCheckpoint, type WeightsFormat } from "./locate.ts";
export { openMapped } from "./mapped-file.ts";
export { openPath, openWeights, type PathOptions } from "./open-path.ts";
export { saveFile } from "./save-file.ts";
