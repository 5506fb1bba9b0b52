import type { WeightsFormat } from "../checkpoint/choose-files.ts";
import { type LocatedFiles, locateFiles } from "../checkpoint/locate.ts";
import { pathPlace } from "./folder-store.ts";

/** Where the parts of a checkpoint are. */
export interface CheckpointFiles extends LocatedFiles {
  readonly folder: string;
}

/**
 * Finds the files of a checkpoint.
 *
 * @param path a file of weights, an index, or a folder.
 * @param format in a folder, look only for files of this format.
 * @throws every error of `locateFiles`
 */
export async function locateCheckpoint(path: string, format?: WeightsFormat): Promise<CheckpointFiles> {
  const { folder, store, file } = await pathPlace(path);
  return { folder, ...(await locateFiles(store, { file, format })) };
}
