/** The limits of reading pickles, beyond those of ../limits.ts. */

const MiB = 2 ** 20;

/** Bytes of the records `version` and `byteorder`: a number, a word. */
export const MAX_TEXT_RECORD_BYTES = 64;

/** Values in one place of a pickle: stack, memo, list, dict, set. A JavaScript Map ends at 2^24. */
export const MAX_PICKLE_VALUES = 16_000_000;

/**
 * Bytes of memory that a pickle may take, by the costs of pickle/costs.ts: one byte of the file can take a hundred. JavaScript
 * ends the whole process where it finds no more, at 2 to 4 GiB. A checkpoint with a million tensors takes about 1400 MiB, most of it only for a moment.
 */
export const MAX_PICKLE_MEMORY: number = 1792 * MiB;

/** Values that the calls of a pickle copy. Copies take memory beyond `MAX_PICKLE_MEMORY`, up to 100 bytes each. */
export const MAX_PICKLE_COPIES = 4_000_000;

/** Opcodes of the pickles in a pickle: a tensor there has about 50. */
export const MAX_NESTED_OPCODES = 8_000_000;

/** Bytes of one text in a pickle: above half a GiB JavaScript has no strings. */
export const MAX_PICKLE_TEXT_BYTES: number = 64 * MiB;

/** Characters of a name that a pickle asks Python to import, with its module. The longest honest ones have 150. */
export const MAX_GLOBAL_LENGTH = 1000;

/** Nesting of tuples and frozen sets in the key of a dict. Honest keys are text, numbers, classes, pairs of these. */
export const MAX_KEY_DEPTH = 32;

/** Characters of a key that is a tuple, a frozen set, bytes or a number: its text is made anew at each use. */
export const MAX_KEY_TEXT = 1024;

/** Dimensions of a tensor: PyTorch's own bound. */
export const MAX_RANK = 64;

/**
 * Characters of a tensor's name, with the keys of the containers above it. V8 tells longer texts apart by their length only
 * where it looks them up, which takes a minute for a thousand of them.
 */
export const MAX_NAME_LENGTH = 16_000;

/**
 * Paths to values, for each opcode of the pickle. An honest file has less than one; with values that are shared by
 * reference, few opcodes make any number.
 */
export const MAX_PATHS_PER_OPCODE = 16;

/** Left-out values that a report lists. They are counted beyond that. */
export const MAX_LISTED = 1000;

/** Bytes held in memory while a sparse tensor is read as a dense one: its values, and where they belong. */
export const MAX_SPARSE_BYTES: number = 2048 * MiB;

/** Archives inside archives that the scanner opens: honest ones hold at most one (a `.mar` or `.nemo` with a `.pt`). */
export const MAX_NESTED_ARCHIVES = 4;

/** Pickles inside the bytes of pickles: tensors in plain pickles are one level deep. */
export const MAX_NESTED_PICKLES = 8;

/** Bytes that the scanner unpacks, or takes out of pickles, in all: nested ones are small, or data. */
export const MAX_NESTED_BYTES: number = 256 * MiB;

/** Literals of a pickle that are noted as nested ones: with their cost, more than these exceed `MAX_NESTED_BYTES`. */
export const MAX_NESTED_LITERALS: number = 2 ** 16;

/** Unpacked bytes to which the ratio does not apply: short files of equal bytes are no bombs. */
export const INFLATE_ALLOWANCE: number = 16 * MiB;

/** Pickles in a row in one file, each with its own read. Legacy PyTorch files have five. */
export const MAX_STACKED_PICKLES = 10_000;

/**
 * Bytes beyond the end of a pickle that other readers than joblib are followed through, besides as many as the pickle has.
 * There may be a pickle in a row after it, whose own readers are followed there.
 */
export const MAX_BYTES_BEYOND_PICKLE = 4096;

/** Findings that a report lists for one file; all are counted, and the worst one decides the verdict. */
export const MAX_FINDINGS = 1000;

/** Names that a report lists for one file; all are judged. */
export const MAX_LISTED_GLOBALS = 10_000;

/** Members that a report lists for one file. */
export const MAX_LISTED_MEMBERS = 10_000;

/** Bytes of a file that begins as text and is read to its end, to make sure that it is one: the largest are indexes. */
export const MAX_SCANNED_TEXT_BYTES: number = 256 * MiB;

/** Bytes of a Keras configuration. A large model's has 1 MB. */
export const MAX_KERAS_CONFIG_BYTES: number = 64 * MiB;

/** Bytes at the start of an HDF5 file in which a model's configuration is looked for. */
export const MAX_HDF5_SEARCH_BYTES: number = 16 * MiB;

/** Bytes of a damaged or ambiguous archive in which members are looked for by their signature. */
export const MAX_SALVAGE_BYTES: number = 64 * MiB;

/** Members that are looked for in a damaged archive: each is read in two ways. */
export const MAX_SALVAGED_MEMBERS = 2000;

/** Members of a tar archive that the scanner looks into, each with its own reads. */
export const MAX_SCANNED_TAR_MEMBERS = 10_000;

/** Archives in a row in a file of torch.distributed.checkpoint, each with its own reads: one for each tensor. */
export const MAX_JOINED_ARCHIVES = 100_000;

/** Bytes of a compressed file when unpacked: it is held in memory. */
export const MAX_UNPACKED_BYTES: number = 65_536 * MiB;

/** Members of a tar archive: PyTorch's has four. */
export const MAX_TAR_MEMBERS = 64;

/** Storages, or tensors, of a tar archive, which lie there one after the other. Models of that time had some thousands. */
export const MAX_TAR_OBJECTS = 100_000;

/** Bytes of the properties that a tar archive has for a member: a few short lines. */
export const MAX_TAR_PROPERTIES_BYTES = 65_536;
