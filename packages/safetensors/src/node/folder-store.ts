import { statSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { FileStore, StorePlace } from "../source/store.ts";
import { type FileOptions, openFile } from "./file-source.ts";
import { ioError } from "./io-error.ts";
import { openMapped } from "./mapped-file.ts";

/** Options of reading the files of a folder. */
export interface FolderOptions extends FileOptions {
  /** Map the files into memory, so that nothing is copied: see `openMapped` for what that needs. */
  readonly mapped?: boolean | undefined;
}

/** A folder as a place with files. */
export function folderStore(folder: string, options: FolderOptions = {}): FileStore {
  return {
    name: folder,
    async list() {
      try {
        return await readdir(folder);
      } catch (cause) {
        throw ioError(folder, "list", cause);
      }
    },
    open(file) {
      const path = join(folder, file);
      return options.mapped ? openMapped(path) : openFile(path, options);
    },
  };
}

/** What a path leads to: a file in its folder, or a folder. */
export async function pathPlace(
  path: string,
  options: FolderOptions = {},
): Promise<StorePlace & { folder: string }> {
  try {
    const isFolder = (options.blocking ? statSync(path) : await stat(path)).isDirectory();
    const folder = isFolder ? path : dirname(path);
    return { folder, store: folderStore(folder, options), ...(!isFolder && { file: basename(path) }) };
  } catch (cause) {
    throw ioError(path, "open", cause);
  }
}
