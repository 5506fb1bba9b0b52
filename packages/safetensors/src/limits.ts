/** Every limit of the library, each with its reason. A limit that is hit is an error that names it. */

const MiB = 2 ** 20;

/** Bytes of header JSON. The reference refuses more, on reading and on writing (spec: "DOS protection"). */
export const MAX_HEADER_BYTES = 100_000_000;

/** Nesting of JSON values, the header object counted: what the reference's parser allows. */
export const MAX_JSON_DEPTH = 127;

/** Problems that lenient reading lists before it gives up: nobody reads more. */
export const MAX_PROBLEMS = 1000;

/** Bytes of a shard index. The largest seen in the field (497,000 tensors) has 60 MB. */
export const MAX_INDEX_BYTES: number = 256 * MiB;

/** Files of one checkpoint. The largest published ones have a few hundred. */
export const MAX_SHARDS = 10_000;

/** Pages of a list of keys, each with up to 1000: ten times as many as a checkpoint may have files. */
export const MAX_LIST_PAGES = 100;

/** Bytes of a ZIP central directory: 4 million members of ordinary name length. */
export const MAX_ZIP_DIRECTORY_BYTES: number = 256 * MiB;

/** Bytes of a compressed member when inflated, if it is read here and there: it is held in memory as a whole then. */
export const MAX_INFLATED_BYTES: number = 4096 * MiB;

/** Unpacked bytes for each packed one: deflate makes up to 1000, of pickles and code about 10. */
export const MAX_INFLATE_RATIO = 200;

/** Unpacked bytes of data to which `MAX_INFLATE_RATIO` does not apply: zeros are honest. */
export const DATA_INFLATE_ALLOWANCE: number = 256 * MiB;

/** Bytes of the header of a NumPy array. NumPy reads 10,000 unless told to trust the file; plain dtypes need 1,500. */
export const MAX_NPY_HEADER_BYTES: number = MiB;

/** Dimensions of a NumPy array: what NumPy 2 can have. */
export const MAX_NPY_DIMENSIONS = 64;

/** Nesting of the Python literal in that header: structured dtypes, which may lie in each other, need two levels each. */
export const MAX_LITERAL_DEPTH = 32;

/** Bytes of `data.pkl`: about 100 bytes a tensor, so five million tensors. */
export const MAX_PICKLE_BYTES: number = 512 * MiB;

/** Marks open at once on the pickle machine's stack: honest files need about a dozen. */
export const MAX_PICKLE_MARKS = 10_000;

/** Bytes of one arbitrary-precision integer in a pickle: conversion to decimal text is quadratic. */
export const MAX_PICKLE_LONG_BYTES = 8192;

/** Decimal digits of one integer in a pickle: Python's own limit for text to int. */
export const MAX_PICKLE_DIGITS = 4300;

/** Depth at which tensors are looked for in nested containers. */
export const MAX_CONTAINER_DEPTH = 2000;

/** How many times the input's size a conversion may write: strides of 0 make a few bytes into any number. */
export const MAX_EXPANSION = 4;

/** Bytes that a conversion may write however small its input is. */
export const EXPANSION_ALLOWANCE: number = 1024 * MiB;

/** Bytes of a tensor that is read to know how a quantised weight is stored: honest ones have at most some thousands. */
export const MAX_STATED_BYTES: number = MiB;

/** Bytes of the stored parts, and of the values, of a piece of a quantised weight that can only be decoded as one. */
export const MAX_DECODED_BYTES: number = 4096 * MiB;

/** Bytes of a configuration beside the weights: the largest published ones, with a rule for each layer, have a few million. */
export const MAX_CONFIG_BYTES: number = 16 * MiB;
