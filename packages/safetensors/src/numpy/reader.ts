import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { readHead } from "../checkpoint/safetensors.ts";
import { type NameChoice, nameTest } from "../checkpoint/select.ts";
import { ViewIndex } from "../checkpoint/view-index.ts";
import { SafetensorsError } from "../errors.ts";
import { readExactly } from "../source/read-into.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { StridedView } from "../view/view.ts";
import { InflatedMembers } from "../zip/inflated.ts";
import { readArray, type StoredArray } from "./array.ts";
import { isNpy } from "./header.ts";
import { listArrays } from "./npz.ts";

/** Options of `openNumpy`. */
export interface NumpyOptions extends ReadOptions {
  /** Open only these arrays of an archive: the others may then be of types that cannot be read. */
  readonly names?: NameChoice | undefined;
  /** Open compressed arrays also if they have over 256 MiB and are more than 200 times as large as they are compressed. */
  readonly allowExpansion?: boolean | undefined;
  /** The first bytes of the file, if somebody has read them already. */
  readonly head?: Uint8Array | undefined;
}

/** The name of the array of a `.npy` file: what numpy.savez calls the first array that is given none. */
const ONLY_NAME = "arr_0";

/** Headers read at the same time. */
const HEADERS_IN_FLIGHT = 8;

/**
 * Opens a NumPy file. The arrays of a `.npz` archive have their names without ".npy"; the one of a `.npy` file is named
 * "arr_0". Reads the archive's directory and the header of every array, no elements. Big-endian arrays are converted
 * as they are read; Fortran order is a matter of strides.
 *
 * An array that is compressed (`numpy.savez_compressed`) is inflated while it is read from its begin to its end, as
 * `chunks` does, with little memory. Reads that go to and fro inflate it as a whole and keep it in memory: of all such
 * arrays those used last, up to 256 MiB, and the last one in any case.
 *
 * @throws `INVALID_HEADER`, `INVALID_ARCHIVE`, `INVALID_UTF8`, `DUPLICATE_KEY`, `UNSAFE_INTEGER`, `SIZE_OVERFLOW`,
 *   `TRUNCATED`, `TRAILING_BYTES`, `UNKNOWN_DTYPE`: the file is damaged, or can be read in two ways.
 *   `UNSUPPORTED`: types that safetensors has not, among them arrays of Python objects, whose pickle is never run.
 *   `LIMIT_EXCEEDED`. Errors of one array name it.
 */
export async function openNumpy(source: ByteSource, options: NumpyOptions = {}): Promise<Checkpoint> {
  const head = options.head ?? (await readHead(source, options));
  const kept = new InflatedMembers();
  const arrays = isNpy(head)
    ? [onlyArray(source, head, options)]
    : await listArrays(checkedArchive(source, head), kept, nameTest(options.names), options);
  const views = await readHeaders(arrays);
  return new Checkpoint({
    format: "numpy",
    tensors: new ViewIndex(new Map(arrays.map(({ name }, place) => [name, views[place]!]))),
    close: () => {
      kept.clear();
      return source.close?.();
    },
  });
}

function checkedArchive(source: ByteSource, head: Uint8Array): ByteSource {
  if (head[0] === 0x50 && head[1] === 0x4b) return source;
  throw new SafetensorsError("INVALID_HEADER", "this is neither a NumPy array nor an archive of them");
}

function onlyArray(source: ByteSource, head: Uint8Array, options: ReadOptions): StoredArray {
  return {
    name: ONLY_NAME,
    source,
    offset: 0,
    size: source.size,
    read: async (length) =>
      length <= head.length ? head.subarray(0, length) : readExactly(source, 0, length, options),
  };
}

async function readHeaders(arrays: readonly StoredArray[]): Promise<StridedView[]> {
  const views = new Array<StridedView>(arrays.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < arrays.length) {
      const place = next++;
      views[place] = await readArray(arrays[place]!);
    }
  };
  try {
    await Promise.all(Array.from({ length: HEADERS_IN_FLIGHT }, work));
  } catch (error) {
    // Nothing more is to be read by the others.
    next = arrays.length;
    throw error;
  }
  return views;
}
