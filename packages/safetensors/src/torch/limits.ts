/** The limits of reading pickles, beyond those of ../limits.ts. */

const MiB = 2 ** 20;

/**
 * Values in one place of a pickle (stack, memo, list, dict, set), and objects that one pickle makes: a JavaScript Map
 * ends at 2^24. A checkpoint of a million tensors with optimizer state makes eight million objects.
 */
export const MAX_PICKLE_VALUES = 16_000_000;

/** Bytes of one text in a pickle: above half a GiB JavaScript has no strings. */
export const MAX_PICKLE_TEXT_BYTES: number = 64 * MiB;

/** Nesting of tuples and frozen sets in the key of a dict. Honest keys are text, numbers, classes, pairs of these. */
export const MAX_KEY_DEPTH = 32;

/** Characters of a key that is a tuple, a frozen set or bytes: its text is made anew at each use. */
export const MAX_KEY_TEXT = 1024;

/** Dimensions of a tensor: PyTorch's own bound. */
export const MAX_RANK = 64;

/** Characters of a tensor's name, with the keys of the containers above it. */
export const MAX_NAME_LENGTH = 65_536;

/** Values that are looked at on the way to tensors, a value for each of its paths: few bytes make any number of paths. */
export const MAX_VISITS = 10_000_000;

/** Left-out values that a report lists. They are counted beyond that. */
export const MAX_LISTED = 1000;
