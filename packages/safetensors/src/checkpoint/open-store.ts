import { inFile } from "../errors.ts";
import { orClose } from "../source/or-close.ts";
import type { ByteSource } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type LocatedFiles, type LocateOptions, locateAndOpen } from "./locate.ts";
import { type OpenOptions, open } from "./open.ts";
import { closeAll, openAll } from "./open-all.ts";
import { listedNames, type NameChoice, nameTest, selectTensors } from "./select.ts";
import type { ShardIndex } from "./shard-index.ts";
import { joinShards } from "./sharded.ts";

/** Options of `openStore`. */
export interface StoreOptions extends OpenOptions, LocateOptions {
  /**
   * Open only the part of the checkpoint with these tensors. With an index, only the files that hold one of them are
   * opened: one of 163 files for one tensor.
   */
  readonly names?: NameChoice | undefined;
}

/** One opened file of a checkpoint. */
export interface OpenedFile {
  readonly file: string;
  readonly source: ByteSource;
  readonly checkpoint: Checkpoint;
}

/** A checkpoint with its files still apart. */
export interface OpenedFiles {
  readonly files: readonly OpenedFile[];
  readonly index?: NonNullable<LocatedFiles["index"]>;
  /** All as one. Closing it closes the files. */
  readonly whole: Checkpoint;
}

/**
 * Opens the checkpoint in a store: a file, the files of an index, or what is found there; several files come as one.
 * Only headers are read, several at a time.
 *
 * @throws every error of `locateFiles`, `open` and `joinShards`; errors of one of several files name it
 */
export async function openStore(store: FileStore, options: StoreOptions = {}): Promise<Checkpoint> {
  return (await openStoreFiles(store, options)).whole;
}

/** `openStore`, for those who need to know what lies in which file. */
export async function openStoreFiles(store: FileStore, options: StoreOptions = {}): Promise<OpenedFiles> {
  const choice = listedNames(options.names) ?? options.names;
  const { opened, files: located, index } = await locateAndOpen(store, options);
  const isPart = index !== undefined && choice !== undefined;
  const names = isPart ? filesWith(index, nameTest(choice)) : located;
  const weightMap = isPart ? entriesOf(index, new Set(names)) : index?.weightMap;

  const openOne = async (file: string): Promise<OpenedFile> => {
    options.signal?.throwIfAborted();
    const source = opened?.source ?? (await store.open(file, options));
    const checkpoint = await orClose(source, () => open(source, { ...options, head: opened?.head }));
    return { file, source, checkpoint };
  };
  const isOne = !index && names.length === 1;
  const files = await openAll(names, (file) => (isOne ? openOne(file) : inFile(file, () => openOne(file))));
  try {
    const shards = new Map(files.map(({ file, checkpoint }) => [file, checkpoint]));
    const joined = isOne ? files[0]!.checkpoint : joinShards(shards, weightMap, options.mode);
    const whole = choice === undefined ? joined : selectTensors(joined, choice);
    return { files, whole, ...(index && { index }) };
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

/** The files that hold at least one wanted tensor. */
function filesWith({ weightMap, files }: ShardIndex, wanted: (name: string) => boolean): readonly string[] {
  const needed = new Set<string>();
  for (const [name, file] of weightMap) if (wanted(name)) needed.add(file);
  // Of a checkpoint without any such tensor one file is opened, to tell what is missing.
  return needed.size > 0 ? files.filter((file) => needed.has(file)) : files.slice(0, 1);
}

/** What the index says of these files. */
function entriesOf({ weightMap }: ShardIndex, files: ReadonlySet<string>): ReadonlyMap<string, string> {
  const entries = new Map<string, string>();
  for (const [name, file] of weightMap) if (files.has(file)) entries.set(name, file);
  return entries;
}
