import type { ByteSource, ReadOptions } from "./source.ts";

/**
 * A place with files: a folder, a web server, a bucket, a repository, a list of dropped files. A checkpoint of several
 * files is opened from one. It is a structural type, so that users bring their own.
 */
export interface FileStore {
  /** What to call it in messages. */
  readonly name: string;
  /** The names of the files directly in it; absent where the place cannot tell, as with plain web servers. */
  list?(options?: ReadOptions): Promise<readonly string[]>;
  /**
   * Opens one of its files. `file` is a bare name that has been checked: see `checkShardFileName`.
   *
   * @throws `NOT_FOUND` if there is no such file
   */
  open(file: string, options?: ReadOptions): Promise<ByteSource>;
}

/** What an address leads to: a place, and the file in it; without a file, the place as a whole. */
export interface StorePlace {
  readonly store: FileStore;
  readonly file?: string;
}
