/** The limits of reading pickles, beyond those of ../limits.ts. */

const MiB = 2 ** 20;

/** Bytes of the records `version` and `byteorder`: a number, a word. */
export const MAX_TEXT_RECORD_BYTES = 64;

/** Values in one place of a pickle: stack, memo, list, dict, set. A JavaScript Map ends at 2^24. */
export const MAX_PICKLE_VALUES = 16_000_000;

/**
 * Objects that a pickle makes, and entries of its dicts and sets: each takes up to 300 bytes here, for one or two in
 * the file. A checkpoint with a million tensors makes nine million, with optimizer state thirteen.
 */
export const MAX_PICKLE_OBJECTS = 16_000_000;

/** Bytes of one text in a pickle: above half a GiB JavaScript has no strings. */
export const MAX_PICKLE_TEXT_BYTES: number = 64 * MiB;

/** Characters of a name that a pickle asks Python to import, with its module. The longest honest ones have 150. */
export const MAX_GLOBAL_LENGTH = 1000;

/** Nesting of tuples and frozen sets in the key of a dict. Honest keys are text, numbers, classes, pairs of these. */
export const MAX_KEY_DEPTH = 32;

/** Characters of a key that is a tuple, a frozen set or bytes: its text is made anew at each use. */
export const MAX_KEY_TEXT = 1024;

/** Dimensions of a tensor: PyTorch's own bound. */
export const MAX_RANK = 64;

/** Characters of a tensor's name, with the keys of the containers above it. */
export const MAX_NAME_LENGTH = 65_536;

/**
 * Paths to values, for each opcode of the pickle. An honest file has less than one; with values that are shared by
 * reference, few opcodes make any number.
 */
export const MAX_PATHS_PER_OPCODE = 16;

/** Left-out values that a report lists. They are counted beyond that. */
export const MAX_LISTED = 1000;
